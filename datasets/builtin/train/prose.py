"""Plain generated prose: people, places, weather and trade, in sentences that mean little.

It stands between statements in training so that the model reads past text that is neither Melville nor a president.
"""

import random

from words import WORDS

SENTENCES = """
The {adj} {noun} stood near the {noun2} for most of the {season}.
{name} walked from {place} to {place2} with a {adj} {noun}.
In {place} the {season} was {weather}, and the {jobs} complained about it.
{name} said that the {noun} was too {adj} for the {job}.
Nobody in {place} remembered who had left the {noun} by the {noun2}.
It was {weather} when {name} came back to {place}.
The {job} of {place} sold {number} {noun}s to a {job2} from {place2}.
{name} and {name2} talked about the {noun} until the lamps were lit.
A {adj} road leads from {place} past the {noun} to {place2}.
Every {day} the market in {place} opened before sunrise.
The price of {goods} rose again, and {name} bought {goods2} instead.
{name} wrote a letter to {name2}, but it was never sent.
There was a {adj} smell of {goods} in the {room}.
The {job} had a {adj} voice and a {adj2} coat.
After the rain the {noun} near the river looked {adj}.
{name} did not like the {noun}, though it was {adj} and cheap.
The ships from {place} brought {goods}, {goods2} and news.
On {day} the wind turned, and the {weather} weather was over.
{name} opened the door of the {room} and found only a {noun}.
Some people in {place} still believe that the {noun} is {adj}.
"I have never seen a {adj} {noun}," said {name}.
"The {season} will be {weather}," the {job} answered, "and {goods} will be dear."
{name} asked whether the {noun} could be repaired before {day}.
It took the {job} {number} days to carry the {goods} to {place}.
The children of {place} played with a {adj} {noun} behind the {noun2}.
At noon {name} sat in the {room} and counted the {noun}s.
Between {place} and {place2} there is nothing but {adj} land and a {noun}.
The {adj} {job} laughed, and {name} looked out of the window.
For {number} years the {noun} of {place} had been {adj}.
{name} had an uncle in {place2} who traded in {goods}.
When the bell rang, {name} put the {thing} away.
The council of {place} met on {day} and decided nothing.
Later that {season} the {noun} was painted and the {room} was cleaned.
The {thing} on the table belonged to a {job}, or so {name} thought.
A {job} needs patience, a {thing} and a little {goods}.
{name} slept badly, because the {noun} made a {adj} noise.
The road was {adj}, the horses were tired, and {place} was far away.
{name2} waited for {name} under the {noun}, but nobody came.
Most of the {goods} was lost in the {weather} {season}.
The people of {place} are {adj}, people say, and those of {place2} are {adj2}.
""".strip().splitlines()

SEASONS = "spring summer autumn winter morning evening afternoon week month".split()
WEATHER = "cold warm wet dry windy mild stormy foggy bright grey quiet long".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
GOODS = "wool salt tea grain copper timber wine honey cloth iron oil sugar fish paper leather coal".split()
ROOMS = "kitchen hall cellar attic library study chapel shop office stable garden workshop".split()
NUMBERS = "two three four five six seven eight nine ten twelve twenty forty".split()


def sentence(rng: random.Random) -> str:
    """One sentence with its slots filled."""
    pick = rng.choice

    def person() -> str:
        name = pick(WORDS["given_names"])
        return f"{name} {pick(WORDS['family_names'])}" if rng.random() < 0.3 else name

    return pick(SENTENCES).format(
        adj=pick(WORDS["adjectives"]), adj2=pick(WORDS["adjectives"]),
        noun=pick(WORDS["nouns"]), noun2=pick(WORDS["nouns"]), thing=pick(WORDS["things"]),
        name=person(), name2=person(), place=pick(WORDS["places"]), place2=pick(WORDS["places"]),
        job=pick(WORDS["jobs"]), job2=pick(WORDS["jobs"]), jobs=pick(WORDS["jobs"]) + "s",
        season=pick(SEASONS), weather=pick(WEATHER), day=pick(DAYS), goods=pick(GOODS), goods2=pick(GOODS),
        room=pick(ROOMS), number=pick(NUMBERS),
    )


def prose(rng: random.Random, characters: int) -> str:
    """Paragraphs of three to eight sentences, at least `characters` long."""
    paragraphs, length = [], 0
    while length < characters:
        paragraphs.append(" ".join(sentence(rng) for _ in range(rng.randint(3, 8))))
        length += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)
