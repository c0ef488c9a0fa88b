"""How well and how fast passages are found: `python -m bench.retrieval FOLDER`, a collection in the layout of BEIR.

The folder has `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; SciFact, for one, is published in that form.
Nothing of it is part of this repository. The embedding models are none: one hashes words, the other is noise; they show
what fusing does to a ranking, not what vectors of a real model would.
"""

import argparse
import contextlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.hashing import HASHING, NOISE

from agentrunner.retrieval.embedding import Embedder
from agentrunner.retrieval.index import Index, Source
from agentrunner.retrieval.passages import Chunk
from agentrunner.retrieval.search import search
from agentrunner.retrieval.vectors import drop_vectors, embed_missing

DEPTH = 100
Relevant = Mapping[str, Mapping[str, int]]
Ranked = Mapping[str, Sequence[str]]


class Collection(NamedTuple):
    documents: Mapping[str, tuple[str, str]]
    """Title and text by id."""
    queries: Mapping[str, str]
    relevant: Relevant
    """For each query that is judged, how relevant which documents are."""


def lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def read(folder: Path, split: str) -> Collection:
    documents = {each["_id"]: (each["title"], each["text"]) for each in lines(folder / "corpus.jsonl")}
    queries = {each["_id"]: each["text"] for each in lines(folder / "queries.jsonl")}
    relevant: dict[str, dict[str, int]] = {}
    for row in (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = row.split("\t")
        if int(grade) > 0:
            relevant.setdefault(query, {})[document] = int(grade)
    return Collection(documents, queries, relevant)


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], at: int = 10) -> float:
    def gain(grades: Sequence[int]) -> float:
        return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades[:at]))

    return gain([relevant.get(each, 0) for each in ranked]) / gain(sorted(relevant.values(), reverse=True))


def recall(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    return len(relevant.keys() & set(ranked[:DEPTH])) / len(relevant)


def build(index: Index, collection: Collection) -> None:
    """Each document as a source of one chunk, then the same again."""
    sources = [
        Source(name, [Chunk(text, 0, len(text), "whole")], "1", title)
        for name, (title, text) in collection.documents.items()
    ]
    with timed(f"{len(sources)} documents indexed", len(sources)):
        index.put_all("bench", sources)
    with timed("the same again, unchanged", len(sources)):
        index.put_all("bench", sources)


@contextlib.contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Prints how long it took. Processor time too: other programs on the machine do not change it much."""
    begun, used = time.perf_counter(), time.process_time()
    yield
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    print(
        f"{what}: {seconds:.2f} s, {count / seconds:.0f} a second"
        f" (processor {processor:.2f} s, {count / processor:.0f} a second)",
        flush=True,
    )


class Times(NamedTuple):
    """Seconds that each search took, and how much of them this process had the processor."""

    wall: Sequence[float]
    processor: Sequence[float]


def rank(index: Index, collection: Collection, **how: Any) -> tuple[Ranked, Times]:
    """The documents found for each judged query, best first."""
    found: dict[str, Sequence[str]] = {}
    wall: list[float] = []
    processor: list[float] = []
    for query in collection.relevant:
        begun, used = time.perf_counter(), time.process_time()
        hits = search(index, collection.queries[query], stores=["bench"], limit=DEPTH, **how)
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
        found[query] = [hit.source for hit in hits]
    return found, Times(wall, processor)


def row(name: str, ranked: Ranked, times: Times, relevant: Relevant) -> float:
    """Prints a line of the table and returns nDCG@10."""

    def mean(measure: Callable[[Sequence[str], Mapping[str, int]], float]) -> float:
        return statistics.mean(measure(ranked[query], relevant[query]) for query in relevant)

    quality = mean(ndcg)
    late = statistics.quantiles(times.wall, n=20)[-1]
    milliseconds = [f"{each * 1000:.1f} ms" for each in (*map(statistics.median, times), late)]
    print(f"| {name} | {quality:.4f} | {mean(recall):.4f} | {' | '.join(milliseconds)} |", flush=True)
    return quality


def fused(index: Index, collection: Collection, embedder: Embedder, by_words: float) -> None:
    """What vectors of this model make of the ranking, from alone to not at all."""
    count = embed_missing(index, "bench", embedder)
    for text, embedding in ((0.0, 1.0), (1.0, 1.0), (1.0, 0.5), (1.0, 0.2), (1.0, 0.0)):
        how = {"embedder": embedder, "text_weight": text, "embedding_weight": embedding}
        ranked, took = rank(index, collection, **how)
        quality = row(f"{embedder.model}, words {text:g} : vectors {embedding:g}", ranked, took, collection.relevant)
        if not embedding and quality != by_words:
            raise SystemExit("vectors at weight 0 changed the ranking")
    if embed_missing(index, "bench", embedder) or count != len({text for _, text in collection.documents.values()}):
        raise SystemExit("not every text was embedded once")
    drop_vectors(index, "bench")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description=__doc__)
    parser.add_argument("folder", type=Path, help="a collection in the layout of BEIR")
    parser.add_argument("--split", default="test", help="which judgements: qrels/SPLIT.tsv (default: test)")
    arguments = parser.parse_args()
    if not (arguments.folder / "corpus.jsonl").is_file():
        parser.error(f"there is no corpus.jsonl in {str(arguments.folder)!r}")
    collection = read(arguments.folder, arguments.split)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.db"
        index = Index(path)
        build(index, collection)
        index.close()
        index = Index(path)
        text = sum(len(title.encode()) + len(text.encode()) for title, text in collection.documents.values())
        print(f"size of the index {path.stat().st_size / 1e6:.1f} MB, of the text {text / 1e6:.1f} MB")
        print(f"{len(collection.relevant)} queries, the {DEPTH} best of each\n")
        print(f"| by | nDCG@10 | recall@{DEPTH} | median | of it processor | 95 % below |\n|---|---|---|---|---|---|")
        by_words = row("words", *rank(index, collection), collection.relevant)
        for embedder in (HASHING, NOISE):
            fused(index, collection, embedder, by_words)
        index.close()


if __name__ == "__main__":
    main()
