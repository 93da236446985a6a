"""How much: one budget of requests and bytes, checked and charged while bytes go out.

bucket (arithmetic); slots, stores, mmap_store (state); policy, clients, budget (who may have how much);
exchange, middleware (every HTTP request); limits, routes (costly routes); refusals (the answer when it is
too much).
"""
