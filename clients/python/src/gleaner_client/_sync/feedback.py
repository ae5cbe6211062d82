"""Judgments, and what is learned of them."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import BinaryIO, Optional, Sequence, Union

from .. import types as t
from .._core import call, given
from .._files import PathLike
from .part import Part, download, settled


class Feedback(Part):
    """What people say about answers, and what is learned of it."""

    def add(
        self,
        index: str,
        events: Sequence[t.FeedbackEvent],
        *,
        idempotency_key: Optional[str] = None,
    ) -> int:
        """Keeps judgments, impressions and clicks, all or none; how many were added."""
        body = {"index": index, "events": list(events)}
        asked = call("addFeedback", body=body, key=idempotency_key)
        answer: t.FeedbackAnswer = self._transport.send(asked)
        return answer["added"]

    def get(self, index: str) -> t.FeedbackStatus:
        """What is kept, and which combiner is used."""
        answer: t.FeedbackStatus = self._transport.send(call("getFeedback", index))
        return answer

    def fit(
        self, index: str, *, activate: Optional[bool] = None, timeout: Optional[float] = None
    ) -> t.FitReport:
        """Fits a combiner, and uses it if it wins."""
        asked = call("fitFeedback", index, body=given(activate=activate))
        answer: t.FitReport = settled(self._transport, asked, timeout)
        return answer

    def activate(self, index: str, version: int) -> t.CombinerStatus:
        """Uses a version of the combiner; 0 is the shipped one."""
        asked = call("activateCombiner", index, body={"version": version})
        answer: t.CombinerStatus = self._transport.send(asked)
        return answer

    def roll_back(self, index: str) -> t.CombinerStatus:
        """Uses the version before."""
        answer: t.CombinerStatus = self._transport.send(call("rollBackCombiner", index))
        return answer

    def export(self, index: str, to: Union[PathLike, BinaryIO]) -> int:
        """The events as a Parquet file; its bytes."""
        return download(self._transport, call("exportFeedback", index), to)
