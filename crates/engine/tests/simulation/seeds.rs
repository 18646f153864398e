//! Schedules that have found something once.

/// A seed of `Profile::Sound`, and what it had found.
pub const SEEDS: &[(u64, &str)] = &[
    (22, "who was asked after the first node had only what that one had left of the node timeout"),
    (219_270, "those of [a, b] and of [b] began at different nodes and split the votes for ever"),
    (226_869, "the same"),
    (582, "who headed the line kept the others of its process from a lock that was free"),
    (16_252, "the same"),
    (80_429, "a release of what had lost its quorum came behind an extension that stored it again"),
    (1_474_795, "a queue that was empty for a while believed a watch that its node had given up"),
    (102, "a minority had granted a fencing token that the others did not want for a long time"),
    (698, "who was behind others with its fencing token waited for its schedule"),
    (
        110_959,
        "whose clock is hours ahead went by it again when it was told to keep to a greater token",
    ),
    (
        82_285,
        "a client whose clock is wrong and one node that grants nothing to it: asked without end",
    ),
    (
        908_365,
        "who returns early took the first of two nodes that wanted another fencing token for all",
    ),
    (82_330, "a node that had forgotten a lock stored another again, which had expired"),
    (
        18_957,
        "who wrote with a sign left on a minority, and reads from then on, never took it back",
    ),
    (
        21_163,
        "who got in to write left the signs of earlier attempts on the nodes that had not granted",
    ),
    (
        247_915,
        "two of one line asked for permits side by side, and the second one got one before the first",
    ),
    (754_817, "the same"),
    (70_132, "a node that refused was asked again and again, for it told that the lock was free"),
    (72_814, "a permit of which nothing was known was asked for again and again, without a pause"),
    (198_293, "a call paused for seconds, for attempts had failed on nodes that were far"),
    (283_786, "a call failed by what another of its line had been told long before"),
    (735_827, "who was told that the lock was taken still paused for another, who was too hasty"),
    (254_940, "a writer who left took the sign away that another of its line waited behind"),
    (
        51_563_954,
        "who got in to write took back his own sign, by a release that came late once more",
    ),
    (
        31_489_481,
        "an attempt to write took its sign away where it ended before the node had answered, and readers passed",
    ),
    (
        60_688_623,
        "a sign was taken back over another connection than it was left over, and came later",
    ),
    (
        70_147_344,
        "who asked a node for a permit that did not answer was passed by those who asked for others",
    ),
    (52_799_324, "who was told that the lock was taken went on with the pause of one who had left"),
    (70_635_271, "a writer who was told that his lock was lost left the sign of his last attempt"),
    (71_218_097, "the same, where a minority still stored his value"),
    (90_441_339, "others who ask every few milliseconds were quicker three times in three seconds"),
    (
        100_924_819,
        "writers asked whenever another had asked, with no pause, where no quorum answered",
    ),
    (
        114_400_270,
        "who was closed could not release what he had lost, and it expired a little later",
    ),
    (
        121_417_694,
        "one did not ask for a free permit, for another of its line had asked for one that was taken",
    ),
    (
        502_498_020,
        "what was released of a lost lock was stored again by setNXOnExtend, and the release came behind it",
    ),
    (
        528_888_039,
        "a slow link had left commands behind for half an hour, of which the end was looked at too early",
    ),
];
