"""Sentences about two people, and corrupted versions of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Bool, Int

from interpbench_jax.tasks.causal.ioi.language import Language, words_language
from interpbench_jax.tasks.causal.ioi.words import NAMES, OBJECTS, PLACES, TEMPLATES

Corruption = Literal["abc", "names", "flip", "order"]
"""How a corrupted sentence differs: three new names, two new names in the same roles, the other
person acting, or the two people introduced in reverse order."""
_SLOTS = ("{1}", "{2}", "{S}", "{place}", "{object}")

Tokens = Int[np.ndarray, "sentence pos"]


class Choices(NamedTuple):
    """The template and words of a batch of sentences; one row per sentence.

    Attributes:
      template: index of the template.
      first: index of the name introduced first.
      second: index of the name introduced second.
      subject: index of the name of the person who acts.
      place: index of the place.
      object: index of the object.
    """

    template: Int[np.ndarray, " sentence"]
    first: Int[np.ndarray, " sentence"]
    second: Int[np.ndarray, " sentence"]
    subject: Int[np.ndarray, " sentence"]
    place: Int[np.ndarray, " sentence"]
    object: Int[np.ndarray, " sentence"]

    @property
    def indirect_object(self) -> Int[np.ndarray, " sentence"]:
        """Index of the correct last word: the name of the person who does not act."""
        return np.where(self.subject == self.first, self.second, self.first)


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Templates and the words that fill them, as tokens.

    Attributes:
      language: maps words to tokens.
      templates: see `words.py`.
      names: names of people; like places and objects, each a single token.
      places: places where something happens.
      objects: things that are given.
    """

    language: Language = field(default_factory=words_language)
    templates: tuple[str, ...] = TEMPLATES
    names: tuple[str, ...] = NAMES
    places: tuple[str, ...] = PLACES
    objects: tuple[str, ...] = OBJECTS

    def __post_init__(self) -> None:
        """Checks that every template has each slot once, and that there are enough names."""
        for template in self.templates:
            for slot in _SLOTS:
                if template.split().count(slot) != 1:
                    raise ValueError(f"template {template!r} must have {slot} once, as a word")
        if len(set(self.names)) < 5:
            raise ValueError(f"five different names are needed, got {self.names}")

    @cached_property
    def rows(self) -> Int[np.ndarray, "template pos"]:
        """The templates as ids, BOS first, padded; negative ids are slots, in order of `_SLOTS`."""
        found = []
        for template in self.templates:
            ids = [self.language.bos]
            for word in template.split():
                slot = word in _SLOTS
                ids += [-1 - _SLOTS.index(word)] if slot else self.language.encode(word)
            found.append(ids)
        longest = max(map(len, found))
        return np.array([ids + [self.language.pad] * (longest - len(ids)) for ids in found])

    @cached_property
    def lengths(self) -> Int[np.ndarray, " template"]:
        """Number of positions of every template, BOS included."""
        return (self.rows != self.language.pad).sum(1)

    def ids(self, words: Sequence[str]) -> Int[np.ndarray, " word"]:
        """Token ids of words that are one token each."""
        return np.array([self.language.single(word) for word in words])

    @cached_property
    def name_ids(self) -> Int[np.ndarray, " name"]:
        """Token ids of the names."""
        return self.ids(self.names)

    @cached_property
    def is_name(self) -> Bool[np.ndarray, " d_vocab"]:
        """Which tokens are names."""
        found = np.zeros(len(self.language.vocabulary), bool)
        found[self.name_ids] = True
        return found

    def choose(
        self, key: jax.Array, n: int, template: Int[np.ndarray, " sentence"] | None = None
    ) -> Choices:
        """Draws sentences uniformly; either person may act (ABBA and BABA).

        Args:
          key: a JAX random key.
          n: number of sentences.
          template: the template of each sentence; drawn by default.
        """
        keys = iter(jax.random.split(key, 6))

        def below(bound: int) -> Int[np.ndarray, " sentence"]:
            return np.asarray(jax.random.randint(next(keys), (n,), 0, bound))

        drawn = below(len(self.templates))
        first = below(len(self.names))
        second = (first + 1 + below(len(self.names) - 1)) % len(self.names)
        acts_first = below(2) == 0
        return Choices(
            template=drawn if template is None else template,
            first=first,
            second=second,
            subject=np.where(acts_first, first, second),
            place=below(len(self.places)),
            object=below(len(self.objects)),
        )

    def tokens(self, choices: Choices) -> Tokens:
        """The sentences, padded to the longest template."""
        rows = self.rows[choices.template]
        fillers = np.stack(
            [
                *(self.name_ids[who] for who in (choices.first, choices.second, choices.subject)),
                self.ids(self.places)[choices.place],
                self.ids(self.objects)[choices.object],
            ],
            1,
        )
        slots = np.clip(-1 - rows, 0, None)
        filled = np.take_along_axis(fillers, slots, 1)
        return np.where(rows < 0, filled, rows).astype(np.int32)

    def corrupt(self, choices: Choices, key: jax.Array, how: Corruption) -> Choices:
        """The same sentences with other people; template, place and object are kept.

        Args:
          choices: the clean sentences.
          key: a JAX random key.
          how: `abc` uses three new, different names, so that no name is repeated; `names` uses two
            new names in the same roles; `flip` lets the other person act, which changes the answer;
            `order` introduces the two people in reverse order.

        Raises:
          ValueError: `how` has another value.

        Source: Wang et al. 2023 (`abc`, `names`, `order`); Mueller et al. 2025, MIB (`flip`).
        """
        first, second, subject = choices.first, choices.second, choices.subject
        if how == "order":
            return choices._replace(first=second, second=first)
        if how == "flip":
            return choices._replace(subject=choices.indirect_object)
        if how not in get_args(Corruption):
            raise ValueError(f"corruption must be one of {get_args(Corruption)}, got {how!r}")
        # All names in random order, with the names of the clean sentence last.
        n_names = len(self.names)
        ranks = np.asarray(jax.random.uniform(key, (len(first), n_names))).argsort(1)
        taken = (ranks == first[:, None]) | (ranks == second[:, None])
        new = np.take_along_axis(ranks, np.argsort(taken, axis=1, kind="stable"), 1)
        if how == "names":
            acts_first = subject == first
            return choices._replace(
                first=new[:, 0],
                second=new[:, 1],
                subject=np.where(acts_first, new[:, 0], new[:, 1]),
            )
        return choices._replace(first=new[:, 0], second=new[:, 1], subject=new[:, 2])
