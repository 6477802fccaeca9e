"""How the page looks: on a phone, on a wide screen, in the dark, and on paper."""

CSS = """\
:root { color-scheme: light dark; --ink: #1b1f24; --page: #ffffff; --faint: #5c6570;
  --line: #d4d9df; --shade: #f4f6f8; --link: #0b5cad; --warn: #fff3d1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --page: #14171a; --faint: #a3adb8;
  --line: #3a4148; --shade: #1f2429; --link: #7db8f2; --warn: #4a3b0c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 0 0 0.75rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); }
dl { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 1rem 0; }
dt { color: var(--faint); font-size: 0.85rem; }
dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
p { overflow-wrap: anywhere; max-width: 46rem; }
.warning { background: var(--warn); padding: 0.5rem 0.75rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0;
  padding: 0; }
nav a { display: inline-block; padding: 0.25rem 0; }
section { margin: 2rem 0; }
figure { margin: 0 0 1rem; max-width: 46rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--faint); font-size: 0.9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { min-width: 18rem; border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); padding: 0.25rem 0; }
th, td { padding: 0.2rem 0.75rem 0.2rem 0; text-align: left; border-bottom: 1px solid var(--line);
  max-width: 24rem; overflow-wrap: break-word; }
thead th { vertical-align: bottom; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
pre { background: var(--shade); padding: 0.75rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (min-width: 60rem) {
  section:has(figure) { display: grid; gap: 0 2rem; align-items: start;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  section > h2, section > p, #interpolations > .scroll { grid-column: 1 / -1; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --page: #fff; --faint: #333; --line: #999;
    --shade: #fff; --link: #000; --warn: #fff; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav { display: none; }
  figure { max-width: 15cm; }
  figure, tr, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
}
"""
