"""Names of the files in a run's folder."""

CONFIG, METRICS, RESULT, CARDS = "config.json", "metrics.csv", "result.json", "cards.json"
REPORT, SKIPPED = "report.html", "skipped.txt"
