"""The report page's style: light and dark, wide and narrow, no colour that carries meaning alone."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #1b1f24; --soft: #59616b;
  --line: #e3e5e8; --grid: #eceef0; --ours: #1766b8; --ours-fill: #1766b82e; --other: #6c747e;
  --other-fill: #6c747e2b; --warn: #8a5a00; --bad: #b3261e; --good: #146c3c; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1b1f25; --ink: #e9ebee;
  --soft: #a2abb6; --line: #2f353d; --grid: #272c33; --ours: #62b0f5; --ours-fill: #62b0f53d;
  --other: #9aa4af; --other-fill: #9aa4af33; --warn: #e8b357; --bad: #ff8a80; --good: #6fd39b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 .8rem; }
li, dd, footer { max-width: 52rem; }
.sub { color: var(--soft); margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1.8rem 0 0; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.tile { padding: .9rem 1rem; }
.tile b { display: block; font-size: 1.6rem; font-weight: 600; line-height: 1.25; letter-spacing: -.01em; }
.tile span { color: var(--soft); font-size: .875rem; line-height: 1.35; display: block; }
.card { padding: 1rem 1.1rem; }
.row { display: grid; grid-template-columns: 19rem 1fr; gap: 0 1rem; align-items: end; }
.name { padding: .5rem 0 .35rem; line-height: 1.3; }
.name b { font-weight: 600; overflow-wrap: anywhere; }
.name i { font-style: normal; color: var(--soft); font-size: .8125rem; }
.name span { display: block; color: var(--soft); font-size: .8125rem; font-variant-numeric: tabular-nums; }
.plot { position: relative; height: 4rem; border-bottom: 1px solid var(--line); }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.ours { --mark: var(--ours); --fill: var(--ours-fill); }
.other { --mark: var(--other); --fill: var(--other-fill); }
.area { fill: var(--fill); stroke: var(--mark); stroke-width: 1; vector-effect: non-scaling-stroke; }
.p50, .p99, .gridline, .floor { vector-effect: non-scaling-stroke; }
.p50 { stroke: var(--mark); stroke-width: 2.5; }
.p99 { stroke: var(--mark); stroke-width: 1.75; stroke-dasharray: 4 3; }
.gridline { stroke: var(--grid); stroke-width: 1; }
.floor { stroke: var(--ink); stroke-width: 1.25; stroke-dasharray: 1 3; }
.max { position: absolute; bottom: -4px; width: 8px; height: 8px; margin-left: -4px; border-radius: 50%;
  border: 2px solid var(--mark); background: var(--card); }
.axis { position: relative; height: 2.4rem; font-size: .8125rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.axis span { position: absolute; top: .3rem; transform: translateX(-50%); white-space: nowrap; }
.axis .at-start { transform: none; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; font-size: .8125rem; color: var(--soft);
  margin: .3rem 0 0; padding: 0; list-style: none; }
.key svg { width: 18px; height: 12px; margin-right: .4rem; vertical-align: -1px; }
.none { color: var(--warn); font-size: .875rem; padding-bottom: .5rem; }
.scroll { overflow-x: auto; padding: 0; }
table { border-collapse: collapse; width: 100%; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .45rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; white-space: normal; line-height: 1.25; }
th:first-child, td:first-child { padding-left: 1.1rem; }
th:last-child, td:last-child { padding-right: 1.1rem; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr:last-child td { border-bottom: 0; }
tr.ours td:nth-child(2), tr.ours td.main { color: var(--ours); font-weight: 600; }
td.yes { color: var(--good); } td.no { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1.2rem; margin: 0;
  font-size: .9375rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
ul.plain { margin: 0; padding-left: 1.1rem; }
footer { margin-top: 2.6rem; color: var(--soft); font-size: .875rem; }
@media (max-width: 40rem) { main { padding: 1.5rem .9rem 3rem; } h1 { font-size: 1.4rem; }
  .row { grid-template-columns: 1fr; } .plot { height: 3rem; } .axis-pad { display: none; }
  .tiles { grid-template-columns: 1fr 1fr; } .tile b { font-size: 1.3rem; } .card { padding: .8rem; }
  .scroll { padding: 0; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""
