"""Schemas of databases."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from .. import types as t
from .._core import call, given
from .part import Part, entries


class Schemas(Part):
    """Databases, and the part of their schemas that a question needs."""

    def create(self, request: t.SchemaRequest) -> t.SchemaImported:
        """Imports a schema: of DDL, of a description, or of a database that the server reads."""
        answer: t.SchemaImported = self._transport.send(call("importSchema", body=request))
        return answer

    def import_ddl(
        self,
        name: str,
        ddl: str,
        *,
        dialect: Optional[t.Dialect] = None,
        infer_keys: Optional[bool] = None,
    ) -> t.SchemaImported:
        """Imports what `CREATE TABLE` statements say."""
        body = given(name=name, ddl=ddl, dialect=dialect, infer_keys=infer_keys)
        answer: t.SchemaImported = self._transport.send(call("importSchema", body=body))
        return answer

    def get(self, name: str, *, caller: Optional[str] = None) -> t.SchemaEntry:
        """Tables, columns and keys of a database."""
        answer: t.SchemaEntry = self._transport.send(call("getSchema", name, params={"caller": caller}))
        return answer

    def list(
        self, *, caller: Optional[str] = None, page_size: Optional[int] = None
    ) -> Iterator[t.SchemaSummary]:
        """All databases that key and caller reach."""
        for entry in entries(
            self._transport, "listSchemas", "schemas", page_size=page_size, params={"caller": caller}
        ):
            yield entry

    def delete(self, name: str) -> None:
        """Removes a database."""
        self._transport.send(call("deleteSchema", name))

    def retrieve(
        self,
        name: str,
        question: str,
        *,
        evidence: Optional[str] = None,
        strategy: Optional[t.Strategy] = None,
        mode: Optional[t.SchemaMode] = None,
        token_budget: Optional[int] = None,
        tokenizer: Optional[str] = None,
        dialect: Optional[t.Dialect] = None,
        comments: Optional[bool] = None,
        samples: Optional[int] = None,
        values: Optional[int] = None,
        examples: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.SchemaFocus:
        """The part of a schema that a question needs; `prompt` is the text for a language model."""
        body = given(
            question=question,
            evidence=evidence,
            strategy=strategy,
            mode=mode,
            token_budget=token_budget,
            tokenizer=tokenizer,
            dialect=dialect,
            comments=comments,
            samples=samples,
            values=values,
            examples=examples,
            caller=caller,
        )
        answer: t.SchemaFocus = self._transport.send(call("retrieveSchema", name, body=body))
        return answer

    def which(
        self,
        question: str,
        *,
        evidence: Optional[str] = None,
        databases: Optional[int] = None,
        schemas: Optional[int] = None,
        strategy: Optional[t.Strategy] = None,
        mode: Optional[t.SchemaMode] = None,
        token_budget: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.WhichAnswer:
        """Which databases answer a question, with the part of the best that it needs."""
        body = given(
            question=question,
            evidence=evidence,
            databases=databases,
            schemas=schemas,
            strategy=strategy,
            mode=mode,
            token_budget=token_budget,
            caller=caller,
        )
        answer: t.WhichAnswer = self._transport.send(call("whichSchema", body=body))
        return answer

    def values(
        self,
        name: str,
        text: str,
        *,
        limit: Optional[int] = None,
        meaning: Optional[bool] = None,
        caller: Optional[str] = None,
    ) -> t.ValuesAnswer:
        """Cell values that a text names."""
        body = given(text=text, limit=limit, meaning=meaning, caller=caller)
        answer: t.ValuesAnswer = self._transport.send(call("findValues", name, body=body))
        return answer

    def describe(self, name: str, descriptions: t.Descriptions) -> t.Descriptions:
        """Keeps what people write about its tables and columns."""
        asked = call("describeSchema", name, body=descriptions)
        answer: t.Descriptions = self._transport.send(asked)
        return answer

    def examples(
        self, name: str, *, caller: Optional[str] = None, page_size: Optional[int] = None
    ) -> Iterator[t.Example]:
        """Its stored questions with their SQL."""
        for entry in entries(
            self._transport,
            "listExamples",
            "examples",
            name,
            page_size=page_size,
            params={"caller": caller},
        ):
            yield entry

    def add_examples(
        self, name: str, examples: Sequence[t.NewExample], *, caller: Optional[str] = None
    ) -> t.ExamplesAdded:
        """Stores questions with their SQL, all or none."""
        body = given(examples=list(examples), caller=caller)
        answer: t.ExamplesAdded = self._transport.send(call("addExamples", name, body=body))
        return answer

    def delete_example(self, name: str, id: str, *, caller: Optional[str] = None) -> None:
        """Removes one."""
        self._transport.send(call("deleteExample", name, id, params={"caller": caller}))

    def similar_examples(
        self,
        name: str,
        question: str,
        *,
        limit: Optional[int] = None,
        diversity: Optional[float] = None,
        caller: Optional[str] = None,
    ) -> t.SimilarAnswer:
        """Stored questions like this one."""
        body = given(question=question, limit=limit, diversity=diversity, caller=caller)
        answer: t.SimilarAnswer = self._transport.send(call("similarExamples", name, body=body))
        return answer

    def worth_annotating(
        self,
        name: str,
        questions: Sequence[str],
        *,
        limit: Optional[int] = None,
        caller: Optional[str] = None,
    ) -> t.AnnotateAnswer:
        """Which questions are worth writing SQL for."""
        body = given(questions=list(questions), limit=limit, caller=caller)
        answer: t.AnnotateAnswer = self._transport.send(call("annotateExamples", name, body=body))
        return answer

    def permissions(self, name: str) -> Optional[t.Permissions]:
        """Who may see which tables; `None` where everybody may."""
        answer: Optional[t.Permissions] = self._transport.send(call("getPermissions", name))
        return answer

    def permit(self, name: str, permissions: t.Permissions) -> t.Permissions:
        """Says who may see which tables."""
        asked = call("putPermissions", name, body=permissions)
        answer: t.Permissions = self._transport.send(asked)
        return answer

    def open_to_all(self, name: str) -> None:
        """Takes the permissions away, so that everybody may see all tables."""
        self._transport.send(call("deletePermissions", name))
