"""How the page looks: two themes of the same variables, and what takes as much room as there is."""

LIGHT = {
    "bg": "#ffffff",
    "ink": "#16181d",
    "soft": "#5b6270",
    "line": "#e3e6eb",
    "card": "#f5f6f8",
    "c1": "#2563eb",
    "c2": "#d9480f",
    "c3": "#0f8a5f",
    "c4": "#8b3fb8",
    "c5": "#b8860b",
    "c6": "#0e8fa8",
    "c7": "#c2255c",
    "c8": "#67737f",
}
DARK = {
    "bg": "#14161a",
    "ink": "#e8eaee",
    "soft": "#9aa3b2",
    "line": "#2c313a",
    "card": "#1d2026",
    "c1": "#7aa7ff",
    "c2": "#ff9566",
    "c3": "#4fd1a1",
    "c4": "#cf93f2",
    "c5": "#e6c04d",
    "c6": "#5cd0e6",
    "c7": "#ff8ab0",
    "c8": "#aab4c3",
}
RULES = """
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere }
main { max-width: 1080px; margin: auto; padding: 24px 16px 64px }
h1 { font-size: 24px; margin: 0 }
h2 { font-size: 18px; margin: 36px 0 8px }
p, figcaption, caption, summary { color: var(--soft) }
p { margin: 4px 0 }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0 }
.card { background: var(--card); border-radius: 8px; padding: 10px 16px; flex: 1 1 120px }
.card b { display: block; font-size: 20px }
.card span { color: var(--soft); font-size: 13px }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 22px }
.charts .wide { grid-column: 1 / -1 }
figure { margin: 0; min-width: 0 }
figcaption { color: var(--ink); font-weight: 600; font-size: 14px; margin-bottom: 4px }
figure svg { max-width: 100%; height: auto }
figure .live, .vega-embed { width: 100% }
figure img { max-width: 100%; height: auto; border-radius: 4px; background: #fff }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 8px 0 16px; font-size: 13px;
  padding: 0; list-style: none }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 6px;
  vertical-align: middle }
.scroll { overflow-x: auto; margin: 8px 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
caption { text-align: left; padding: 4px 0 }
th, td { padding: 5px 12px; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; vertical-align: top }
th:first-child, td:first-child { padding-left: 0 }
th { font-weight: 500 }
tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 90px; max-width: 320px }
.n { text-align: right }
thead th { color: var(--soft) }
details { margin-top: 12px }
summary { cursor: pointer }
#vg-tooltip-element { background: var(--card) !important; color: var(--ink) !important;
  border-color: var(--line) !important }
#vg-tooltip-element td.key { color: var(--soft) !important }
"""


def css() -> str:
    """The style of the page."""
    light, dark = (
        " ".join(f"--{name}: {shade};" for name, shade in theme.items()) for theme in (LIGHT, DARK)
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}{RULES}"
    )
