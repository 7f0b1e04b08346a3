"""Search by tf-idf, beside which a trained encoder stands: `python -m benchmarks.tfidf -h`."""

import argparse
import platform
import time
from collections.abc import Sequence
from typing import Any

import sklearn
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from cl.data import sets
from cl.data.sets import TextPairs
from cl.ranking import grades_of, mrr_at, ndcg_at, recall_at
from cl.search import ordered

WAYS: dict[str, dict[str, Any]] = {
    "words": {"sublinear_tf": True},
    "grams": {"sublinear_tf": True, "analyzer": "char_wb", "ngram_range": (3, 5)},
    "defaults": {},
}
K = 10
BLOCK = 512  # queries at a time


def tfidf(pairs: TextPairs, known: Sequence[str], settings: dict[str, Any]) -> dict[str, float]:
    """Measures of a search by the cosine of tf-idf vectors.

    Args:
        pairs: queries, whole corpus and judgments.
        known: the texts whose words are known, and weighed by how many of them have it.
        settings: of scikit-learn's `TfidfVectorizer`, in what they are not its defaults.
    """
    vectorizer = TfidfVectorizer(**settings).fit(known)
    documents = vectorizer.transform(pairs.documents).T.tocsr()
    queries = vectorizer.transform(pairs.queries)
    found = [
        ordered(torch.from_numpy((queries[i : i + BLOCK] @ documents).toarray()), K)
        for i in range(0, len(pairs), BLOCK)
    ]
    grades = grades_of(torch.cat(found), *torch.from_numpy(pairs.judgments).unbind(dim=1))
    measures = {"mrr10": mrr_at, "ndcg10": ndcg_at, "recall10": recall_at}
    return {name: float(measure(*grades, K).mean()) for name, measure in measures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "dataset", nargs="?", default="wordnet", help="of texts, as on the command line"
    )
    parser.add_argument("--data_folder", default="data")
    parser.add_argument("--val_dir")
    parser.add_argument(
        "--settings",
        choices=WAYS,
        default="words",
        help="words: sublinear_tf; grams: char_wb 3- to 5-grams, sublinear_tf; scikit-learn's "
        "defaults; no stop words in any",
    )
    parser.add_argument(
        "--fit",
        choices=("corpus", "train"),
        default="corpus",
        help="whose words are known: the corpus's, or those of the training queries and documents",
    )
    given = parser.parse_args()
    source = sets.load(given.dataset, given.data_folder, val_dir=given.val_dir)
    train, pairs = source.train, source.val
    known = pairs.documents if given.fit == "corpus" else [*train.documents, *train.queries]
    start = time.process_time()
    numbers = tfidf(pairs, known, WAYS[given.settings])
    seconds = time.process_time() - start
    print(f"{given.dataset}, {len(pairs):,} queries, {len(pairs.documents):,} documents")
    print("  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
    print(f"scikit-learn {sklearn.__version__}: {WAYS[given.settings]}, fitted to {given.fit}")
    print(f"{seconds:.0f} CPU s, {platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
