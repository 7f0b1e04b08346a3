"""Names of the files in a run's folder."""

CONFIG, METRICS, RESULT, CARDS = "config.json", "metrics.csv", "result.json", "cards.json"
CARD = "card.json"  # of a pretraining
FEATURES = "features"  # a folder in it
REPORT, SKIPPED = "report.html", "skipped.txt"
MINED = "mined"  # what an evaluation's result.json has where it has mined negatives
OWNER = "owner.json"  # of a run that is being written
START = ("encoder_at_start", "first_batches")  # checksums of a run's beginning, in config.json
