"""Names of the files in a run's folder."""

CONFIG, METRICS, RESULT, CARDS = "config.json", "metrics.csv", "result.json", "cards.json"
CARD = "card.json"  # of a pretraining
REPORT, SKIPPED = "report.html", "skipped.txt"
OWNER = "owner.json"  # of a run that is being written
START = ("encoder_at_start", "first_batches")  # checksums of a run's beginning, in config.json
