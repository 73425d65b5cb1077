"""A mark for what Ray Tune must not carry into its snapshots."""


class Unsaved:
    """Pickles as an empty shell: Tune saves itself for restores, which are not done, as the study is the truth."""

    def __getstate__(self) -> dict[str, object]:
        """Nothing."""
        return {}
