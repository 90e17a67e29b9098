"""Medians and how sure they are: a bootstrap over rounds, since a round is what repeats."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    value: float
    low: float
    high: float


def figure(rounds: list[float], draws: int = 4000) -> Figure:
    """The median of the rounds, and the interval with 95 % of the medians of rounds drawn again with replacement."""
    source = random.Random(len(rounds))
    medians = sorted(median(source.choices(rounds, k=len(rounds))) for _ in range(draws))
    return Figure(median(rounds), medians[draws * 25 // 1000], medians[draws * 975 // 1000 - 1])


def against_the_better(rounds: list[dict[str, float]], ours: str, peers: Iterable[str]) -> list[float]:
    """Ours against the peer that has the lower median, by round. In the place of that, the lower of each round would be a
    third peer, with the luck of both."""
    better = min(peers, key=lambda peer: median(cost[peer] for cost in rounds))
    return [cost[ours] / cost[better] for cost in rounds]
