// Opens OHIF as a person would: the study list, then each study; prints what it saw as JSON.
//
//   node open_viewer.mjs VIEWER_URL FOLDER [SOURCE/]STUDY_INSTANCE_UID=FRAMES...
//
// SOURCE is one of the viewer's data sources, the default one unless named.
// A study counts as open when its first picture is drawn and FRAMES frames have been answered, well or not.
// FOLDER gets list.png and, for each study, {UID}.png (the whole window) and {UID}.canvas.png (the picture as drawn,
// nothing laid over it); {SOURCE}.{UID}.png where a source is named.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [viewerUrl, folder, ...opened] = process.argv.slice(2);
const DEADLINE_MS = 120_000;
const profile = mkdtempSync(join(tmpdir(), 'dermzoo-chromium-'));

const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 1280, height: 800 },
  // without the flags on background traffic Chromium asks its maker's hosts at each start; the viewer draws with
  // WebGL in software, and all around it is put together without, which costs a third less
  args: [
    '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--use-gl=angle', '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader', '--disable-gpu-compositing', '--disable-gpu-rasterization',
    ...(process.env.CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean),
  ],
});
const page = await context.newPage();
page.setDefaultTimeout(DEADLINE_MS);

const requests = [];
const failed = [];
const console_errors = [];
page.on('response', response => {
  const seen = { method: response.request().method(), url: response.url(), status: response.status() };
  requests.push(seen);
  if (seen.status >= 400) failed.push(seen);
});
page.on('requestfailed', request => {
  const reason = request.failure()?.errorText ?? '';
  // leaving the list for a study ends what the list was still loading
  if (reason !== 'net::ERR_ABORTED') failed.push({ method: request.method(), url: request.url(), reason });
});
page.on('console', message => {
  if (message.type() === 'error') console_errors.push(message.text());
});
page.on('pageerror', error => console_errors.push(String(error)));

function answeredFrames(uid, since) {
  const ofStudy = requests.slice(since)
    .filter(({ url }) => url.includes(`/studies/${uid}/`) && url.includes('/frames/'));
  return new Set(ofStudy.map(({ url }) => url)).size;
}

async function openStudy(named, frames) {
  const [uid, source] = named.split('/').reverse();
  const since = requests.length;
  await page.goto(`${viewerUrl}/viewer${source ? `/${source}` : ''}?StudyInstanceUIDs=${uid}`);
  const picture = page.locator('canvas.cornerstone-canvas').first();
  await picture.waitFor();
  await page.waitForFunction(() => {
    const canvas = document.querySelector('canvas.cornerstone-canvas');
    const { data } = canvas.getContext('2d').getImageData(canvas.width >> 1, canvas.height >> 1, 8, 8);
    return data.some((value, index) => index % 4 !== 3 && value > 0);
  });
  while (answeredFrames(uid, since) < frames) await page.waitForEvent('response');
  const png = await picture.evaluate(canvas => canvas.toDataURL('image/png').split(',')[1]);
  const file = join(folder, named.replace('/', '.'));
  writeFileSync(`${file}.canvas.png`, Buffer.from(png, 'base64'));
  const thumbnails = await page.locator('[data-cy="study-browser-thumbnail"]').count();
  const shown = page.locator('[data-cy="study-browser-thumbnail"] img');
  if (thumbnails) await shown.first().evaluate(image => image.decode());
  await page.screenshot({ path: `${file}.png` });
  return { thumbnails, requests: requests.slice(since), text: await page.locator('body').innerText() };
}

try {
  // the tour that greets a newcomer would cover the picture
  await page.addLocatorHandler(page.getByText('Skip all'), button => button.click());
  const listed = page.waitForResponse(response => response.url().includes('/studies?'));
  await page.goto(viewerUrl);
  await listed; // on a busy machine the network is idle before the viewer has asked
  await page.locator('tbody tr').first().waitFor();
  await page.waitForLoadState('networkidle');
  const rows = await page.locator('tbody tr').allInnerTexts();
  await page.screenshot({ path: join(folder, 'list.png') });

  const studies = {};
  for (const [uid, frames] of opened.map(study => study.split('='))) {
    studies[uid] = await openStudy(uid, Number(frames));
  }
  console.log(JSON.stringify({ rows, studies, requests, failed, console_errors }));
} catch (error) {
  await page.screenshot({ path: join(folder, 'failure.png') });
  console.log(JSON.stringify({ error: String(error), requests, failed, console_errors }));
  process.exitCode = 1;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
