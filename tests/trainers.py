"""Options of Lightning's Trainer that tests have in common."""

QUIET_ON_CPU = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
