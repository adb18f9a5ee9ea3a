//! What the papers are about, and the sentences that they are made of: two splits that share no sentence.
//!
//! Slots: `{P}` the paper's authors, `{i}` what is studied, `{m}` what is measured, `{g}` the group, `{n}` a number,
//! `{k}` a protocol, `{more}` `higher` or `lower`, `{year}` a year.

/// A line of research: what is done to people, and what may be measured.
#[derive(Debug)]
pub struct Topic {
    /// `an afternoon nap`
    pub intervention: &'static str,
    /// Two outcomes.
    pub measures: [&'static str; 2],
}

const fn topic(intervention: &'static str, a: &'static str, b: &'static str) -> Topic {
    Topic {
        intervention,
        measures: [a, b],
    }
}

/// Lines of research; the first half is for training, the second for testing.
pub static TOPICS: &[Topic] = &[
    topic(
        "an afternoon nap",
        "recall of word lists",
        "speed of reaction",
    ),
    topic(
        "chewing gum",
        "attention span",
        "accuracy in mental arithmetic",
    ),
    topic(
        "daily choir practice",
        "lung capacity",
        "self-reported mood",
    ),
    topic("reading aloud", "reading comprehension", "spelling"),
    topic("cold showers", "number of sick days", "skin temperature"),
    topic("standing desks", "typing speed", "lower back pain"),
    topic("indoor plants", "concentration", "self-reported stress"),
    topic("writing by hand", "recall of lectures", "length of notes"),
    topic("green tea", "wakefulness", "resting pulse"),
    topic(
        "background birdsong",
        "error rate in proofreading",
        "quality of sleep",
    ),
    topic(
        "juggling lessons",
        "peripheral vision",
        "patience in waiting tasks",
    ),
    topic("evening walks", "time to fall asleep", "appetite"),
];

/// Groups of participants.
pub static GROUPS: &[&str] = &[
    "adolescents",
    "apprentices",
    "night-shift workers",
    "nurses",
    "people over seventy",
    "schoolchildren",
    "university students",
    "young parents",
];

/// Names of protocols are a word and a number.
pub static PROTOCOLS: &[&str] = &[
    "Aspen", "Basalt", "Cedar", "Dune", "Ember", "Fjord", "Granite", "Heron",
];

/// Sentences of one split.
#[derive(Debug)]
pub struct Sentences {
    /// What the paper is about (its outcome).
    pub abstracts: &'static [&'static str],
    /// Who took part.
    pub groups: &'static [&'static str],
    /// How many were enrolled.
    pub enrolled: &'static [&'static str],
    /// How many the paper itself leaves out.
    pub excluded: &'static [&'static str],
    /// How many a later note takes away.
    pub withdrawn: &'static [&'static str],
    /// The result.
    pub results: &'static [&'static str],
    /// A later note that turns the result around.
    pub reversed: &'static [&'static str],
    /// A later note that changes nothing.
    pub harmless: &'static [&'static str],
    /// The protocol of an original study.
    pub protocol: &'static [&'static str],
    /// The protocol that a study repeats.
    pub repeats: &'static [&'static str],
    /// Points given by the audit of the registration.
    pub audit: &'static [&'static str],
    /// Points taken off for the method, with the reason before `{n}`.
    pub review: &'static [&'static str],
    /// Points taken off for the data.
    pub data_note: &'static [&'static str],
    /// Discussion: nothing that is asked about.
    pub discussion: &'static [&'static str],
}

/// Sentences for training.
pub static TRAIN: Sentences = Sentences {
    abstracts: &[
        "What difference comes of {i}? The outcome that {P} set out to measure was {m}.",
        "{P} studied the effects of {i}. Their one outcome was {m}.",
        "This study is about {i} and {m}, and about nothing else, as {P} put it in their opening line.",
        "We report on {i}. Of everything one could measure, we chose {m}.",
    ],
    groups: &[
        "All of those who took part were {g}.",
        "The work was done with {g}, who were paid for their time.",
        "Only {g} were admitted; half of them were assigned by coin toss to the treatment.",
        "Participants ({g}) were told nothing of the aim.",
    ],
    enrolled: &[
        "In all, {n} people were enrolled.",
        "Enrolment closed with {n} people on the list.",
        "We enrolled {n} people over two winters.",
        "The number of people enrolled was {n}.",
    ],
    excluded: &[
        "Before the analysis {n} people were excluded for missing a session.",
        "We excluded {n} people whose forms were incomplete.",
        "As planned, the records of {n} people were set aside and not analysed.",
        "Equipment failed in the second week, and {n} people had to be excluded.",
    ],
    withdrawn: &[
        "After publication the authors withdrew the records of {n} more people, who had been entered twice.",
        "A recount led the authors to remove a further {n} people from the analysis.",
        "The consent forms of {n} people could not be found; the authors have taken them out of the analysis.",
    ],
    results: &[
        "Scores for {m} were {more} with the treatment than without.",
        "The treated half came out {more} on {m}.",
        "On {m} the treatment group was {more} than the control group, and not by chance alone.",
    ],
    reversed: &[
        "The labels of the two groups were exchanged in the Results. The direction of the reported effect must be reversed.",
        "An error of coding was found: the effect runs in the direction opposite to the one printed in the Results.",
        "Treatment and control were confused when the table was set. Read the reported direction the other way round.",
    ],
    harmless: &[
        "The second author's initial was misprinted. Nothing else is affected.",
        "A figure was printed in the wrong colours; the text stands as it is.",
        "The address for letters has changed. All results stand.",
    ],
    protocol: &[
        "The procedure was new and is registered as protocol {k}.",
        "We drew up our own procedure, deposited under the name {k}.",
        "For this study a protocol was written; it is listed as {k}.",
    ],
    repeats: &[
        "We followed protocol {k} to the letter.",
        "The procedure is not ours: it repeats protocol {k}.",
        "Every step was taken over from protocol {k}.",
    ],
    audit: &[
        "The auditors compared the registered plan with what was done and award {n} points.",
        "For its registration the paper receives {n} points.",
        "The plan was registered in good time and in detail: {n} points.",
    ],
    review: &[
        "There was no control condition to speak of, and {n} points are deducted.",
        "The staff knew who was treated. The reviewer deducts {n} points.",
        "An outcome was added after the fact, which costs the paper {n} points.",
    ],
    data_note: &[
        "The raw data were deposited late, and a further {n} points are deducted.",
        "Three tables cannot be reproduced from the data: {n} points off.",
        "Rounding hides missing values; for this {n} points are taken off.",
    ],
    discussion: &[
        "The authors are cautious, and ask for larger studies.",
        "Whether this holds outside of the laboratory is left open.",
        "The effect, they write, deserves neither headlines nor neglect.",
        "A limitation is that nobody was followed for longer than a month.",
        "The authors thank the porters, who opened the building on Sundays.",
    ],
};

/// Sentences for testing.
pub static TEST: Sentences = Sentences {
    abstracts: &[
        "Much has been claimed for {i}. {P} put one claim to the test, with {m} as the outcome.",
        "The question here is narrow: it is the effect of {i} on {m}.",
        "{P} describe a trial of {i}; what they recorded was {m}.",
        "A trial of {i} is reported. The registered outcome, and the only one, is {m}.",
    ],
    groups: &[
        "The sample consisted of {g}.",
        "Recruitment was limited to {g} of one county.",
        "Those who volunteered were {g}; lots were drawn to form two groups.",
        "As participants we took {g}, since they were at hand and willing.",
    ],
    enrolled: &[
        "A total of {n} volunteers signed up.",
        "By the first of the month {n} volunteers had been taken in.",
        "The study began with {n} volunteers.",
        "Our register shows {n} volunteers at the start.",
    ],
    excluded: &[
        "Of these, {n} did not finish and were dropped.",
        "We dropped {n} who turned out to have known the hypothesis.",
        "Illness in the winter term meant that {n} had to be dropped before the analysis.",
        "By the rules laid down beforehand, {n} were dropped.",
    ],
    withdrawn: &[
        "An inspection found {n} cases that should never have been counted; they are hereby struck out.",
        "The editors have been told that {n} of the analysed cases were staff, and these are struck out.",
        "On the request of the ethics board another {n} cases are struck out of the analysis.",
    ],
    results: &[
        "Measured by {m}, those who had the treatment did {more} than the rest.",
        "For {m} the mean was {more} in the treated arm.",
        "The arm with the treatment ended {more} on {m} than the arm without.",
    ],
    reversed: &[
        "The two arms were swapped in the data file. The effect is the opposite of what the Results say.",
        "A minus sign was lost in the Results: what is called an effect in one direction is one in the other.",
        "The authors regret that the columns were mislabelled; the printed direction of the effect is wrong and is hereby turned round.",
    ],
    harmless: &[
        "The name of the funding body was misspelt. The findings are unaffected.",
        "Page numbers in the index were off by one. Nothing in the findings changes.",
        "A reference was listed twice. The findings are the same.",
    ],
    protocol: &[
        "A procedure was devised for the purpose and filed as {k}.",
        "What was done is laid down in the authors' own protocol, {k}.",
        "The steps, worked out from nothing, are on file as {k}.",
    ],
    repeats: &[
        "The steps were those of {k}, a protocol by others, without any change.",
        "Nothing was devised anew; the trial was run by the existing protocol {k}.",
        "As laid down by earlier authors in {k}, so it was done here.",
    ],
    audit: &[
        "On the strength of its preregistration the paper is credited with {n} points.",
        "The panel read the preregistration line by line and credits the paper with {n} points.",
        "Credit for the preregistration: {n} points.",
    ],
    review: &[
        "Nobody was blinded. The panel subtracts {n} points.",
        "The control group was recruited a year later, for which {n} points are subtracted.",
        "One measure was switched for another midway, and {n} points are subtracted.",
    ],
    data_note: &[
        "No code was shared, and the data came without a key: {n} points are subtracted.",
        "Two columns of the data are constants. That makes {n} points to subtract.",
        "The figures rest on a file that nobody has seen, and the panel subtracts {n} points.",
    ],
    discussion: &[
        "In closing, the authors warn against drawing rules from a single study.",
        "It is conceded that the weather may have played a part.",
        "The authors hope that somebody with more money will go on from here.",
        "Some of the differences between the sites are described as puzzling.",
        "A longer version is said to be in preparation.",
    ],
};
