"""LP-FT: a linear probe first, then full fine-tuning from it."""

from trainables.methods.full import Full


class LpFt(Full):
    """The head is fitted to the frozen features to its optimum, then everything is trained.

    Source: Kumar et al., ICLR 2022 (arXiv 2202.10054): from a fitted head, fine-tuning distorts the features
    less than from a random one.
    """

    fits_head = True
