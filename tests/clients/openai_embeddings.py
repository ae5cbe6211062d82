"""Asks `/v1/embeddings` and `/v1/models` with the official OpenAI client.

    openai_embeddings.py URL MODEL

Run by `make test-clients` (tools/clients.py), which starts the service.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import unittest
import urllib.request

import openai

URL, MODEL = "", ""
TEXTS = ["the red river", "", "a cat in the house of the mountain"]


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


class Embeddings(unittest.TestCase):
    def setUp(self):
        # Keys are not looked at yet; the client wants one.
        self.client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=60)
        self.addCleanup(self.client.close)

    def embed(self, given, **more):
        return self.client.embeddings.create(model=MODEL, input=given, **more)

    def test_strings_and_lists(self):
        answer = self.embed(TEXTS)
        self.assertEqual(answer.object, "list")
        self.assertEqual(answer.model, MODEL)
        self.assertEqual([one.index for one in answer.data], [0, 1, 2])
        self.assertEqual({one.object for one in answer.data}, {"embedding"})
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)
        self.assertGreater(answer.usage.total_tokens, 12)
        for text, one in zip(TEXTS, answer.data):
            alone = self.embed(text)
            self.assertEqual(len(alone.data), 1)
            self.assertEqual(alone.data[0].embedding, one.embedding)
            self.assertAlmostEqual(sum(x * x for x in one.embedding), 1.0, places=4)

    def test_both_encodings_are_the_same_numbers(self):
        # The client asks for base64 by itself and unpacks it, unless it is told what to ask for.
        unpacked = self.embed(TEXTS).data
        floats = self.embed(TEXTS, encoding_format="float").data
        packed = self.embed(TEXTS, encoding_format="base64").data
        for a, b, c in zip(unpacked, floats, packed):
            self.assertEqual(len(a.embedding), len(b.embedding))
            narrow = [struct.unpack("<f", struct.pack("<f", x))[0] for x in b.embedding]
            self.assertEqual(list(a.embedding), narrow)
            raw = base64.b64decode(c.embedding)
            self.assertEqual(list(struct.unpack(f"<{len(raw) // 4}f", raw)), narrow)

    def test_tokens(self):
        # Any ids of the vocabulary will do; a list of lists gives one vector for each.
        one = self.embed([5, 6, 7])
        self.assertEqual(len(one.data), 1)
        several = self.embed([[5, 6, 7], [8]])
        self.assertEqual(len(several.data), 2)
        self.assertEqual(several.data[0].embedding, one.data[0].embedding)
        self.assertEqual(one.usage.total_tokens, 5)

    def test_dimensions(self):
        whole = self.embed("the red river").data[0].embedding
        lengths = self.client.models.retrieve(MODEL).matryoshka
        self.assertTrue(lengths)
        same = self.embed("the red river", dimensions=len(whole)).data[0].embedding
        self.assertEqual(same, whole)
        for length in lengths:
            short = self.embed("the red river", dimensions=length).data[0].embedding
            self.assertEqual(len(short), length)
            self.assertAlmostEqual(cosine(short, whole[:length]), 1.0, places=5)
            self.assertAlmostEqual(sum(x * x for x in short), 1.0, places=4)
        with self.assertRaises(openai.BadRequestError) as raised:
            self.embed("the red river", dimensions=len(whole) + 1)
        self.assertEqual(raised.exception.code, "invalid_request")

    def test_our_own_fields(self):
        query = self.embed("the red river", extra_body={"task": "query"})
        document = self.embed("the red river", extra_body={"task": "document"})
        self.assertEqual(len(query.data[0].embedding), len(document.data[0].embedding))
        long = self.embed("cat " * 2000, extra_body={"long_texts": "windows"})
        self.assertGreater(long.usage.total_tokens, 2000)
        cut = self.embed(["cat", "cat " * 2000])
        self.assertEqual(cut.truncated, [1])

    def test_models(self):
        names = [model.id for model in self.client.models.list()]
        self.assertIn(MODEL, names)
        model = self.client.models.retrieve(MODEL)
        self.assertEqual((model.id, model.object, model.owned_by), (MODEL, "model", "gleaner"))
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("nobody")

    def test_errors_have_the_classes_of_their_status(self):
        for kind, status, code, ask in [
            (openai.NotFoundError, 404, "model_not_found", dict(model="nobody", input="a")),
            (openai.BadRequestError, 400, "invalid_request", dict(model=MODEL, input=[])),
            (openai.BadRequestError, 400, "limit_exceeded", dict(model=MODEL, input=["a"] * 5000)),
            (openai.BadRequestError, 400, "invalid_request", dict(model=MODEL, input=[2**31])),
        ]:
            with self.assertRaises(kind) as raised:
                self.client.embeddings.create(**ask)
            self.assertEqual(raised.exception.status_code, status)
            self.assertEqual(raised.exception.code, code)
            self.assertTrue(raised.exception.body["message"])
        with self.assertRaises(openai.BadRequestError):
            self.embed("a", extra_body={"misspelt": 1})

    def test_the_client_of_many_threads(self):
        from concurrent.futures import ThreadPoolExecutor

        expected = self.embed("the blue house").data[0].embedding
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: self.embed("the blue house").data[0].embedding, range(64)))
        self.assertTrue(all(one == expected for one in found))


class WithoutTheClient(unittest.TestCase):
    def test_floats_are_numbers_on_the_wire(self):
        body = json.dumps({"model": MODEL, "input": "a cat"}).encode()
        request = urllib.request.Request(f"{URL}/v1/embeddings", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        self.assertIsInstance(answer["data"][0]["embedding"][0], float)


if __name__ == "__main__":
    URL, MODEL = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1], verbosity=2)
