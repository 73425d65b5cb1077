"""What the service answers where it cannot do what it is asked."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was refused, and what to do."""

    detail: str = Field(description="one message; of a space, one line a mistake")


class ServiceError(Exception):
    """An answer other than success: its status and its message."""

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status, self.detail = status, detail


class NoClusterError(ServiceError):
    """Ray does not answer."""

    def __init__(self, reason: str):
        super().__init__(
            503, f"no Ray cluster answers ({reason}); start one by `ray start --head` and try again"
        )
