# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/dermzoo
ENV PATH=/opt/dermzoo/bin:$PATH
WORKDIR /source
COPY requirements/run.txt requirements/run.txt
RUN pip install --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home dermzoo && install -d -o dermzoo -g dermzoo /data
COPY --from=build /opt/dermzoo /opt/dermzoo
WORKDIR /dermzoo
COPY config config
COPY corpus corpus
ENV PATH=/opt/dermzoo/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DERMZOO_DATA_DIR=/data \
    DERMZOO_HOST=0.0.0.0 \
    DERMZOO_PORT=8080
USER dermzoo
VOLUME /data
EXPOSE 8080
# a body in flight may take DERMZOO_SHUTDOWN_GRACE_S (30 s): stop with a longer time-out than that
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --start-interval=1s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['DERMZOO_PORT'] + '/readyz', timeout=4)"]
CMD ["sh", "-c", "dermzoo migrate && exec dermzoo serve"]
