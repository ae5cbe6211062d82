"""Asks `/v1/rerank` and `/v2/rerank` with the official Cohere client.

    cohere_rerank.py URL MODEL RERANKER

Run by `make test-clients` (tools/clients.py), which starts the service.
"""

from __future__ import annotations

import json
import sys
import unittest
import urllib.request

import cohere
from cohere.core.api_error import ApiError

URL, RERANKER = "", ""
QUERY = "what is the capital of France?"
TEXTS = ["Paris is the capital of France.", "", "a cat in the house of the mountain"]


class Rerank(unittest.TestCase):
    def setUp(self):
        # Keys are not looked at yet; the client wants one.
        options = {"api_key": "none", "base_url": URL, "timeout": 60}
        self.first, self.second = cohere.Client(**options), cohere.ClientV2(**options)

    def test_both_versions(self):
        for client in (self.first, self.second):
            answer = client.rerank(model=RERANKER, query=QUERY, documents=TEXTS)
            self.assertTrue(answer.id)
            self.assertEqual(sorted(result.index for result in answer.results), [0, 1, 2])
            scores = [result.relevance_score for result in answer.results]
            self.assertEqual(scores, sorted(scores, reverse=True))
            self.assertTrue(all(0.0 <= score <= 1.0 for score in scores))
            self.assertEqual(answer.meta.billed_units.search_units, 1)
            best = client.rerank(model=RERANKER, query=QUERY, documents=TEXTS, top_n=1)
            self.assertEqual(len(best.results), 1)
            self.assertEqual(best.results[0].index, answer.results[0].index)
            self.assertEqual(best.results[0].relevance_score, answer.results[0].relevance_score)

    def test_documents_and_fields(self):
        documents = [{"title": "Paris", "text": "the capital of France"}, {"title": "a cat", "text": "a house"}]
        answer = self.first.rerank(
            model=RERANKER,
            query=QUERY,
            documents=documents,
            rank_fields=["title", "text"],
            return_documents=True,
        )
        for result in answer.results:
            self.assertEqual(result.document.text, documents[result.index]["text"])
        joined = ["\n".join(document.values()) for document in documents]
        plain = self.first.rerank(model=RERANKER, query=QUERY, documents=joined)
        found = [(result.index, result.relevance_score) for result in answer.results]
        self.assertEqual(found, [(result.index, result.relevance_score) for result in plain.results])
        texts = self.first.rerank(model=RERANKER, query=QUERY, documents=TEXTS, return_documents=True)
        for result in texts.results:
            self.assertEqual(result.document.text, TEXTS[result.index])

    def test_long_documents(self):
        short = self.second.rerank(model=RERANKER, query=QUERY, documents=["cat " * 20], max_tokens_per_doc=10)
        same = self.second.rerank(model=RERANKER, query=QUERY, documents=["cat " * 10])
        self.assertEqual(short.results[0].relevance_score, same.results[0].relevance_score)

    def test_errors_have_the_classes_of_their_status(self):
        with self.assertRaises(cohere.NotFoundError):
            self.second.rerank(model="nobody", query=QUERY, documents=TEXTS)
        with self.assertRaises(cohere.BadRequestError) as raised:
            self.second.rerank(model=RERANKER, query=QUERY, documents=[])
        self.assertEqual(raised.exception.body["error"]["code"], "invalid_request")
        self.assertIsInstance(raised.exception, ApiError)

    def test_jinas_shape(self):
        body = {"model": RERANKER, "query": QUERY, "documents": TEXTS, "top_n": 2, "return_documents": True}
        request = urllib.request.Request(
            f"{URL}/v1/rerank",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        self.assertEqual(answer["model"], RERANKER)
        self.assertGreater(answer["usage"]["total_tokens"], 0)
        for result in answer["results"]:
            self.assertEqual(result["document"], {"text": TEXTS[result["index"]]})


if __name__ == "__main__":
    URL, _, RERANKER = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1], verbosity=2)
