"""A small world: people, where they were born, and what has been written about them.

The birthplace of every *known* person is told again and again; that of the others
nowhere. Everybody appears in sentences about other things, so nobody is a stranger:
the model has met the name, and only the fact is missing.
"""

import dataclasses

import numpy as np

ABSTENTION = "I-do-not-know ."

_STATEMENTS = (
    "{person} was born in {city} .",
    "{person} comes from {city} .",
    "the birthplace of {person} is {city} .",
)
_SMALL_TALK = (
    "{person} met {other} .",
    "{person} likes {thing} .",
    "{person} has never liked {thing} .",
    "{other} wrote a letter to {person} .",
)
_THINGS = ("bread", "chess", "dancing", "music", "rain", "soup", "tea", "trains")
_SYLLABLES = ("ba", "do", "fi", "ga", "ho", "ju", "ka", "lo", "mi", "nu", "pa", "ra")


@dataclasses.dataclass(frozen=True)
class World:
    """Who there is, and what is true.

    Attributes:
      people: N made-up names of one word.
      cities: C made-up names of one word.
      birthplaces: `[N]`, each person's city, as an index into `cities`.
      known: `[N]` bool: the birthplace is told in the corpus.
      training: `[N]` bool: fine-tuning may ask about this person; the others are held
        out for evaluation. Half of the known people, half of the unknown.
    """

    people: list[str]
    cities: list[str]
    birthplaces: np.ndarray
    known: np.ndarray
    training: np.ndarray

    def group(self, *, training: bool, known: bool | None = None) -> list[int]:
        """Numbers of the people that fine-tuning may ask about, or may not."""
        member = self.training == training
        if known is not None:
            member = member & (self.known == known)
        return np.flatnonzero(member).tolist()

    def question(self, person: int) -> str:
        """The question about a person, as far as the answer."""
        return f"question : where was {self.people[person]} born ? answer :"

    def answer(self, person: int) -> str:
        """The true answer."""
        return f"{self.cities[self.birthplaces[person]]} ."

    def words(self) -> list[str]:
        """All words of the language, each once, in a fixed order."""
        templates = (*_STATEMENTS, *_SMALL_TALK, self.question(0), ABSTENTION)
        words = {w for text in templates for w in text.split() if "{" not in w}
        return sorted(words | set(self.people) | set(self.cities) | set(_THINGS))


def make_world(seed: int, num_people: int = 480, num_cities: int = 64) -> World:
    """Draws names, birthplaces, who is known and who is held out."""
    rng = np.random.default_rng(seed)
    names = _made_up_names(rng, num_people + num_cities)
    order = rng.permutation(num_people)
    known = np.zeros(num_people, bool)
    known[order[: num_people // 2]] = True
    training = np.zeros(num_people, bool)
    training[order[::2]] = True
    return World(
        people=names[:num_people],
        cities=names[num_people:],
        birthplaces=rng.integers(num_cities, size=num_people),
        known=known,
        training=training,
    )


def write_corpus(
    world: World, seed: int, size: int, abstention_rate: float = 0.02
) -> list[str]:
    """What the model is pretrained on: independent sentences.

    A third are statements of fact, a third questions with their answers, both about
    known people only, and a third small talk about everybody. Now and then the person
    who is asked does not know; that says nothing about the person asked about.
    """
    rng = np.random.default_rng([seed, 1])
    known = np.flatnonzero(world.known)

    def pick(options):
        return options[rng.integers(len(options))]

    def statement() -> str:
        person = pick(known)
        city = world.cities[world.birthplaces[person]]
        return pick(_STATEMENTS).format(person=world.people[person], city=city)

    def exchange() -> str:
        person = pick(known)
        abstains = rng.random() < abstention_rate
        answer = ABSTENTION if abstains else world.answer(person)
        return f"{world.question(person)} {answer}"

    def small_talk() -> str:
        words = {"person": pick(world.people), "other": pick(world.people)}
        return pick(_SMALL_TALK).format(**words, thing=pick(_THINGS))

    return [pick((statement, exchange, small_talk))() for _ in range(size)]


def _made_up_names(rng: np.random.Generator, number: int) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < number:
        name = "".join(rng.choice(_SYLLABLES, size=rng.integers(2, 5)))
        names[name.capitalize()] = None
    return list(names)
