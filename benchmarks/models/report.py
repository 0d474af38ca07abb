"""Figures beside their limits."""

rows = []


def report(what, value, limit=None, unit="", at_least=False):
    """Prints one figure beside its limit, if it has one, and notes whether it holds."""
    if limit is None:
        print(f"{what:52}{value:14.6g}{unit}", flush=True)
        return
    holds = value >= limit if at_least else value <= limit
    rows.append(holds)
    bound = f"{'≥' if at_least else '≤'} {limit:g}{unit}"
    print(f"{what:52}{value:14.6g}{unit:4}{bound:>14}   {'ok' if holds else 'MISSED'}", flush=True)


def all_hold():
    return all(rows)
