"""A resumed run goes on with the rates that its configuration says."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch.optim.lr_scheduler import LambdaLR

CONFIGURED = ("weight_decay", "momentum", "betas", "eps")


class ConfiguredRates(Callback):
    """Takes rates and decay of a resumed run from its configuration, not from its checkpoint.

    They are the same, bit for bit, unless a setting was changed by `--override`. A schedule that
    follows the loss has made its own way, and its learning rates stay as they are; so do all those
    of a method whose `configure_optimizers` makes others than one optimizer with one schedule.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        made = pl_module.configure_optimizers()
        optimizers, plans = trainer.optimizers, trainer.lr_scheduler_configs
        if not (isinstance(made, dict) and len(optimizers) == len(plans) == 1):
            return
        (optimizer,), (planned,) = optimizers, plans
        groups = zip(optimizer.param_groups, made["optimizer"].param_groups, strict=True)
        for group, configured in groups:
            names = [name for name in (*CONFIGURED, "initial_lr") if name in configured]
            group.update({name: configured[name] for name in names})
        scheduler = planned.scheduler
        if isinstance(scheduler, LambdaLR):
            scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
            rates = [
                base * factor(scheduler.last_epoch)
                for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            ]
            scheduler._last_lr = rates
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
