"""cl, the reference laboratory for contrastive learning."""
