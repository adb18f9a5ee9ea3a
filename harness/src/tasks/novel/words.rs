//! What people of the novels are, join, own and whisper about.

/// A trade, with the words by which a free answer may refer to it.
#[derive(Debug)]
pub struct Trade {
    /// The noun: `baker`.
    pub noun: &'static str,
    /// Whole words that count as mentioning it.
    pub words: &'static [&'static str],
}

const fn trade(noun: &'static str, words: &'static [&'static str]) -> Trade {
    Trade { noun, words }
}

/// Trades.
pub static TRADES: &[Trade] = &[
    trade("apothecary", &["apothecary", "apothecaries"]),
    trade("baker", &["baker", "baking", "bakery"]),
    trade("beekeeper", &["beekeeper", "beekeeping"]),
    trade("bookbinder", &["bookbinder", "bookbinding"]),
    trade("brewer", &["brewer", "brewing", "brewery"]),
    trade("chandler", &["chandler", "chandlery"]),
    trade("clockmaker", &["clockmaker", "clockmaking"]),
    trade("cooper", &["cooper", "coopering"]),
    trade("dyer", &["dyer", "dyeing"]),
    trade("gardener", &["gardener", "gardening"]),
    trade("glazier", &["glazier", "glazing"]),
    trade("innkeeper", &["innkeeper", "innkeeping"]),
    trade("librarian", &["librarian"]),
    trade("locksmith", &["locksmith"]),
    trade("organist", &["organist"]),
    trade("potter", &["potter", "pottery"]),
    trade("printer", &["printer", "printing"]),
    trade("ropemaker", &["ropemaker", "ropemaking"]),
    trade("saddler", &["saddler", "saddlery"]),
    trade(
        "schoolteacher",
        &["schoolteacher", "schoolteaching", "teacher"],
    ),
    trade("shipwright", &["shipwright"]),
    trade("stonecutter", &["stonecutter", "stonecutting"]),
    trade("surveyor", &["surveyor", "surveying"]),
    trade("tailor", &["tailor", "tailoring"]),
    trade("tanner", &["tanner", "tanning"]),
    trade("translator", &["translator", "translating"]),
    trade("undertaker", &["undertaker", "undertaking"]),
    trade("weaver", &["weaver", "weaving"]),
];

/// Societies that people join, said with `the`.
pub static SOCIETIES: &[&str] = &[
    "Anglers' Union",
    "Charter Party",
    "Civic League",
    "Free Traders",
    "Harbour Guild",
    "Hill Company",
    "Lantern Society",
    "Old Parish Board",
    "Orchard Circle",
    "Reform Club",
    "River Alliance",
    "Temperance Order",
    "Toll Commission",
    "Watch Committee",
];

/// Things that pass from hand to hand, said with `the`.
pub static THINGS: &[&str] = &[
    "amber brooch",
    "brass compass",
    "carved pipe",
    "copper kettle",
    "crystal bell",
    "ebony flute",
    "garnet ring",
    "glass inkwell",
    "green lantern",
    "ivory chessboard",
    "jade button",
    "leather atlas",
    "music box",
    "painted fan",
    "pearl comb",
    "pewter flask",
    "pocket sundial",
    "silver thimble",
    "tin whistle",
    "walnut casket",
];

/// A secret: what it is about, and what is told (a clause).
#[derive(Debug)]
pub struct Secret {
    /// `the mayor's ledger`
    pub topic: &'static str,
    /// `it had been written twice`
    pub truth: &'static str,
}

const fn secret(topic: &'static str, truth: &'static str) -> Secret {
    Secret { topic, truth }
}

/// Secrets; the first half is for training, the second for testing.
pub static SECRETS: &[Secret] = &[
    secret(
        "the mayor's ledger",
        "it had been written out twice, and the second copy was false",
    ),
    secret(
        "the drowned horse",
        "it had been dead before it went into the water",
    ),
    secret("the sealed well", "the water had been good all along"),
    secret(
        "the orphan's inheritance",
        "the money had been spent ten years ago",
    ),
    secret(
        "the judge's brother",
        "he had never sailed, and was living over the stables",
    ),
    secret(
        "the chapel window",
        "it had been sold, and the one in the wall was a copy",
    ),
    secret(
        "the missing lamp oil",
        "the watchman had been drinking with the man who took it",
    ),
    secret(
        "the widow's lodger",
        "he was travelling under another man's papers",
    ),
    secret("the bridge money", "half of it had gone on a yacht"),
    secret(
        "the prize bull",
        "it was not the animal that had been judged",
    ),
    secret(
        "the old boundary stone",
        "somebody had moved it forty paces in the night",
    ),
    secret("the captain's log", "two pages of it were in another hand"),
    secret(
        "the locked pavilion",
        "there was nothing in it, and never had been",
    ),
    secret("the ferry accident", "the rope had been cut"),
    secret(
        "the bishop's portrait",
        "the face was that of the painter's cousin",
    ),
    secret("the silver cup", "it was lead under a thin wash"),
    secret("the lost petition", "it had been used to light a stove"),
    secret("the colonel's medal", "it had been bought at an auction"),
    secret(
        "the empty vault",
        "the bank had been empty since the day it opened",
    ),
    secret("the quarry map", "it showed a hill that did not exist"),
    secret("the second will", "the witnesses had signed a blank sheet"),
    secret("the tall stranger", "he had been born three streets away"),
    secret(
        "the poisoned orchard",
        "it had been done from inside the wall",
    ),
    secret(
        "the chess champion",
        "his moves had been whistled to him from the gallery",
    ),
];

/// Something that happens to the whole town, and by which people reckon time.
#[derive(Debug)]
pub struct Happening {
    /// `the fire at the granary`
    pub name: &'static str,
    /// The scene, in which the name is said.
    pub scene: &'static str,
}

const fn happening(name: &'static str, scene: &'static str) -> Happening {
    Happening { name, scene }
}

/// Happenings; the first half is for training, the second for testing.
pub static HAPPENINGS: &[Happening] = &[
    happening(
        "the fire at the granary",
        "Then came the fire at the granary. It burned until the roof fell in, and for days the air tasted of scorched barley.",
    ),
    happening(
        "the great hailstorm",
        "The great hailstorm broke over the town at four o'clock. It lasted ten minutes and left hardly a pane whole.",
    ),
    happening(
        "the collapse of the bridge",
        "The collapse of the bridge came without warning, early, with nobody on it but a dog, which swam.",
    ),
    happening(
        "the visit of the regent",
        "The visit of the regent took up a whole day. There were flags on the pump and a speech that nobody could hear.",
    ),
    happening(
        "the theft of the church bell",
        "The theft of the church bell was found out at matins, when the rope came down and nothing rang.",
    ),
    happening(
        "the flood in the lower town",
        "The flood in the lower town rose over three nights. People rowed in at their own windows.",
    ),
    happening(
        "the night of the falling stars",
        "Nobody went to bed on the night of the falling stars. They fell in dozens, and children counted aloud.",
    ),
    happening(
        "the strike at the docks",
        "The strike at the docks began on a Monday. By noon the cranes stood still and the gulls had the quay to themselves.",
    ),
    happening(
        "the wreck of the mail boat",
        "The wreck of the mail boat left letters along the shore for a mile. They were dried on washing lines and delivered late.",
    ),
    happening(
        "the election of the new mayor",
        "The election of the new mayor was decided by eleven votes, and there was a fight about it in the yard of the Bell.",
    ),
    happening(
        "the eclipse",
        "The day of the eclipse was clear. The hens went in to roost at noon and came out again an hour later, offended.",
    ),
    happening(
        "the landslide on the coast road",
        "The landslide on the coast road took a hundred yards of wall and one goat shed. The post went round by the hills.",
    ),
];

/// Titles of chapters for spring, summer, autumn and winter.
pub static TITLES: [&[&str]; 4] = [
    &[
        "Mud and Blossom",
        "The Lanes Dry Out",
        "April Weather",
        "Swallows",
        "An Early Thaw",
        "Green Wood",
    ],
    &[
        "Long Evenings",
        "The Hay Is In",
        "Dust",
        "A Dry July",
        "Open Windows",
        "The Heat",
    ],
    &[
        "Windfalls",
        "The First Fires",
        "Fog on the River",
        "Stubble",
        "Shorter Days",
        "October",
    ],
    &[
        "Ice",
        "Candles at Four",
        "The Hard Frost",
        "Snow on the Roofs",
        "A Closed House",
        "The Dark Months",
    ],
];

/// Numbers of chapters in words.
pub static NUMBERS: [&str; 24] = [
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
    "Thirteen",
    "Fourteen",
    "Fifteen",
    "Sixteen",
    "Seventeen",
    "Eighteen",
    "Nineteen",
    "Twenty",
    "Twenty-One",
    "Twenty-Two",
    "Twenty-Three",
    "Twenty-Four",
];
