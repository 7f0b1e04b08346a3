"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906): no negatives, no collapse."""

from cl.methods.barlow_twins import BarlowTwins


class VICReg(BarlowTwins):
    """Views close, every dimension of the embeddings alive, no two dimensions alike.

    The expander is Barlow Twins' projector, as in the paper (section 4.2); the loss is
    `cl.losses.vicreg.vicreg` with its weights.
    """
