"""A mark for what Ray Tune must not carry into its snapshots."""


class Unsaved:
    """Pickles as an empty shell. Tune saves itself to be restored; here the study is the truth instead."""

    def __getstate__(self) -> dict[str, object]:
        """Nothing."""
        return {}
