"""The ledger's schema, as the steps that lead to it. `schemas/ledger.sql` is the result.

A step that has been released is never edited; a change is a new step.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("dupekit")


def _statements(db: Database, sql: str) -> None:
    # One by one: executescript() would commit the transaction that the migration runs in.
    for statement in sql.split(";\n"):
        if statement.strip():
            db.execute(statement)


@migrations()
def m001_initial(db: Database) -> None:
    """Images, rounds and predictions; review, verdicts and the ignore list."""
    _statements(
        db,
        """
CREATE TABLE classes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    class INTEGER NOT NULL REFERENCES classes (id),
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    mode TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('ok', 'problem', 'gone')),
    problem TEXT NOT NULL DEFAULT ''
);
CREATE TABLE rounds (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    begun TEXT NOT NULL,
    closed TEXT,
    pairs INTEGER NOT NULL,
    images INTEGER NOT NULL,
    plan TEXT NOT NULL,
    tallied_pairs INTEGER NOT NULL DEFAULT 0,
    threshold INTEGER
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    pair INTEGER NOT NULL,
    half TEXT NOT NULL CHECK (half IN ('a', 'b')),
    state TEXT NOT NULL CHECK (state IN ('planned', 'done', 'failed')),
    finished TEXT,
    seconds REAL,
    agreement REAL,
    error TEXT NOT NULL DEFAULT '',
    UNIQUE (round, pair, half)
);
CREATE TABLE predictions (
    image INTEGER NOT NULL REFERENCES images (id),
    run INTEGER NOT NULL REFERENCES runs (id),
    predicted INTEGER NOT NULL REFERENCES classes (id),
    probability REAL NOT NULL,
    probability_given REAL NOT NULL,
    PRIMARY KEY (image, run)
) WITHOUT ROWID;
CREATE TABLE tallies (
    round INTEGER NOT NULL REFERENCES rounds (id),
    image INTEGER NOT NULL REFERENCES images (id),
    given INTEGER NOT NULL REFERENCES classes (id),
    digest TEXT NOT NULL,
    predictions INTEGER NOT NULL,
    suggested INTEGER NOT NULL REFERENCES classes (id),
    votes INTEGER NOT NULL,
    p_given REAL NOT NULL,
    p_suggested REAL NOT NULL,
    p_other REAL NOT NULL,
    score REAL NOT NULL,
    PRIMARY KEY (round, image)
) WITHOUT ROWID;
CREATE INDEX tallies_votes ON tallies (round, votes, score);
CREATE TABLE flags (
    round INTEGER NOT NULL REFERENCES rounds (id),
    rank INTEGER NOT NULL,
    image INTEGER NOT NULL REFERENCES images (id),
    PRIMARY KEY (round, rank)
) WITHOUT ROWID;
CREATE TABLE exports (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    key TEXT NOT NULL UNIQUE,
    tree TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE exported_files (
    export INTEGER NOT NULL REFERENCES exports (id),
    path TEXT NOT NULL,
    image INTEGER NOT NULL REFERENCES images (id),
    PRIMARY KEY (export, path)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    export INTEGER NOT NULL REFERENCES exports (id),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    target TEXT NOT NULL DEFAULT ''
);
CREATE TABLE collections (
    id INTEGER PRIMARY KEY,
    export INTEGER NOT NULL REFERENCES exports (id),
    at TEXT NOT NULL,
    who TEXT NOT NULL
);
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id),
    round INTEGER NOT NULL REFERENCES rounds (id),
    image INTEGER NOT NULL REFERENCES images (id),
    verdict TEXT NOT NULL CHECK (verdict IN ('correct', 'relabel', 'expunge', 'unsure')),
    label TEXT NOT NULL,
    previous TEXT NOT NULL DEFAULT ''
);
CREATE INDEX verdicts_image ON verdicts (round, image, id);
CREATE TABLE ignores (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    label TEXT NOT NULL,
    path TEXT NOT NULL,
    added TEXT NOT NULL,
    collection INTEGER REFERENCES collections (id),
    UNIQUE (digest, label)
);
CREATE TABLE applications (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    at TEXT NOT NULL,
    destination TEXT NOT NULL,
    mode TEXT NOT NULL
);
CREATE TABLE corrections (
    application INTEGER NOT NULL REFERENCES applications (id),
    image INTEGER NOT NULL REFERENCES images (id),
    path TEXT NOT NULL,
    old_label TEXT NOT NULL,
    new_label TEXT NOT NULL,
    new_path TEXT NOT NULL,
    PRIMARY KEY (application, image)
) WITHOUT ROWID
""",
    )


@migrations()
def m002_undo(db: Database) -> None:
    """Steps that can be undone; an ignore list that follows from verdicts and edits by hand."""
    _statements(
        db,
        """
ALTER TABLE collections ADD COLUMN undone TEXT;
ALTER TABLE applications ADD COLUMN undone TEXT;
ALTER TABLE applications ADD COLUMN collection INTEGER REFERENCES collections (id);
UPDATE applications SET collection = (SELECT max(id) FROM collections WHERE collections.at <= applications.at);
ALTER TABLE events ADD COLUMN source TEXT NOT NULL DEFAULT 'project';
ALTER TABLE verdicts ADD COLUMN digest TEXT NOT NULL DEFAULT '';
UPDATE verdicts SET digest = coalesce(
    (SELECT digest FROM tallies WHERE tallies.round = verdicts.round AND tallies.image = verdicts.image),
    (SELECT digest FROM images WHERE images.id = verdicts.image));
ALTER TABLE ignores RENAME TO old_ignores;
CREATE TABLE ignore_edits (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    label TEXT NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('added', 'removed')),
    at TEXT NOT NULL,
    round INTEGER NOT NULL,
    verdict INTEGER NOT NULL
);
CREATE INDEX ignore_edits_content ON ignore_edits (digest, label, id);
CREATE VIEW current_verdicts AS
SELECT * FROM verdicts WHERE id IN (
    SELECT max(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
    WHERE undone IS NULL GROUP BY verdicts.round, image);
CREATE VIEW ignores AS
WITH edits AS (
    SELECT * FROM ignore_edits WHERE id IN (SELECT max(id) FROM ignore_edits GROUP BY digest, label)
), confirmed AS (
    SELECT min(v.id) AS id FROM current_verdicts AS v
    LEFT JOIN edits ON edits.digest = v.digest AND edits.label = v.label
    WHERE v.verdict = 'correct' AND (edits.id IS NULL OR (edits.kind = 'removed' AND v.id > edits.verdict))
    GROUP BY v.digest, v.label
)
SELECT digest, label, path, at AS added, round FROM edits WHERE kind = 'added'
UNION ALL
SELECT v.digest, v.label, images.path, collections.at, v.round FROM confirmed
JOIN verdicts AS v ON v.id = confirmed.id
JOIN images ON images.id = v.image
JOIN collections ON collections.id = v.collection;
INSERT INTO ignore_edits (digest, label, path, kind, at, round, verdict)
SELECT digest, label, path, 'added', added,
    coalesce((SELECT max(id) FROM rounds WHERE begun <= added), 0), coalesce((SELECT max(id) FROM verdicts), 0)
FROM old_ignores
WHERE collection IS NULL OR NOT EXISTS (
    SELECT 1 FROM ignores WHERE ignores.digest = old_ignores.digest AND ignores.label = old_ignores.label);
INSERT INTO ignore_edits (digest, label, path, kind, at, round, verdict)
SELECT digest, label, path, 'removed', strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'),
    coalesce((SELECT max(id) FROM rounds), 0), coalesce((SELECT max(id) FROM verdicts), 0)
FROM ignores WHERE NOT EXISTS (
    SELECT 1 FROM old_ignores WHERE ignores.digest = old_ignores.digest AND ignores.label = old_ignores.label);
DROP TABLE old_ignores
""",
    )


@migrations()
def m003_contents_corrected(db: Database) -> None:
    """Of each correction the content, so that it can be told from the image that was decided on."""
    _statements(
        db,
        """
ALTER TABLE corrections ADD COLUMN digest TEXT NOT NULL DEFAULT '';
UPDATE corrections SET digest = coalesce((
    SELECT t.digest FROM tallies AS t JOIN applications ON applications.round = t.round
    WHERE applications.id = corrections.application AND t.image = corrections.image), '')
""",
    )


@migrations()
def m004_who_and_where(db: Database) -> None:
    """Who applied, and from where a tree was collected; empty where an older dupekit recorded it."""
    _statements(
        db,
        """
ALTER TABLE applications ADD COLUMN who TEXT NOT NULL DEFAULT '';
ALTER TABLE collections ADD COLUMN tree TEXT NOT NULL DEFAULT ''
""",
    )


@migrations()
def m005_predictions_in_the_order_of_writing(db: Database) -> None:
    """Predictions with their key in the order in which runs are ingested: each run is appended. By image, every run
    rewrote the whole table.

    No foreign keys on this one table: twenty runs of 1.28 million images took 26 s, with them 58 s, and by image 81 s
    (benchmarks/results/ingest-ext4.txt). Ingesting checks the numbers. The index on votes goes: reading 400,000 tallies instead takes 0.06 s, and counting them is three times as
    fast without it. What watchers saw stands in files beside each export now, to which it was brought before this step.
    """
    _statements(
        db,
        """
ALTER TABLE predictions RENAME TO old_predictions;
CREATE TABLE predictions (
    run INTEGER NOT NULL,
    image INTEGER NOT NULL,
    predicted INTEGER NOT NULL,
    probability REAL NOT NULL,
    probability_given REAL NOT NULL,
    PRIMARY KEY (run, image)
) WITHOUT ROWID;
INSERT INTO predictions (run, image, predicted, probability, probability_given)
SELECT run, image, predicted, probability, probability_given FROM old_predictions ORDER BY run, image;
DROP TABLE old_predictions;
DROP INDEX tallies_votes;
DROP TABLE events
""",
    )


@migrations()
def m006_batches_and_second_opinions(db: Database) -> None:
    """Suspects are a query, no list; trees have a purpose and can be called back; silence is no verdict.

    A verdict that is taken back is a row that says 'open'. Under the old rule whoever collected a tree said that all of it was
    finished, so that is what is recorded of the collections there are. The end of a round is a step now, with the settings
    of the dataset before and since, as escaped text.

    What counts is worked out once a query: CROSS and LIMIT keep SQLite from doing so for each row of what it is joined with
    (measured: not finished after ten minutes, instead of 0.2 s, with 50,000 verdicts).
    """
    _statements(
        db,
        """
ALTER TABLE rounds ADD COLUMN rule TEXT CHECK (rule IN ('votes', 'score'));
UPDATE rounds SET rule = 'votes'
WHERE threshold IS NOT NULL OR closed IS NOT NULL OR id IN (SELECT round FROM exports);
DROP TABLE flags;
ALTER TABLE exports ADD COLUMN purpose TEXT NOT NULL DEFAULT 'review' CHECK (purpose IN ('review', 'second', 'decision'));
ALTER TABLE exports ADD COLUMN withdrawn TEXT;
ALTER TABLE exported_files ADD COLUMN stratum INTEGER;
ALTER TABLE exported_files ADD COLUMN population INTEGER;
CREATE TABLE finished (
    collection INTEGER NOT NULL REFERENCES collections (id),
    label TEXT NOT NULL,
    PRIMARY KEY (collection, label)
) WITHOUT ROWID;
INSERT INTO finished SELECT collections.id, name FROM collections JOIN (
    SELECT DISTINCT export, name FROM exported_files
    JOIN images ON images.id = image JOIN classes ON classes.id = class
) AS held ON held.export = collections.export WHERE undone IS NULL;
CREATE TABLE endings (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    at TEXT NOT NULL,
    who TEXT NOT NULL DEFAULT '',
    before TEXT NOT NULL,
    dataset TEXT,
    collection INTEGER REFERENCES collections (id),
    application INTEGER REFERENCES applications (id),
    undone TEXT
);
INSERT INTO endings (round, at, before, dataset, collection, application)
SELECT id, closed, dataset, (SELECT dataset FROM rounds AS following WHERE following.id = rounds.id + 1),
    (SELECT max(id) FROM collections WHERE at <= closed OR id <= (
        SELECT max(collection) FROM applications WHERE round <= rounds.id)),
    (SELECT max(id) FROM applications WHERE round <= rounds.id)
FROM rounds WHERE closed IS NOT NULL;
DROP VIEW ignores;
DROP VIEW current_verdicts;
CREATE TABLE new_verdicts (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id),
    round INTEGER NOT NULL REFERENCES rounds (id),
    image INTEGER NOT NULL REFERENCES images (id),
    verdict TEXT NOT NULL CHECK (verdict IN ('correct', 'relabel', 'expunge', 'unsure', 'open')),
    label TEXT NOT NULL,
    previous TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT ''
);
INSERT INTO new_verdicts (id, collection, round, image, verdict, label, previous, digest)
SELECT id, collection, round, image, verdict, label, previous, digest FROM verdicts;
DROP TABLE verdicts;
ALTER TABLE new_verdicts RENAME TO verdicts;
CREATE INDEX verdicts_image ON verdicts (round, image, id);
CREATE VIEW statements AS
SELECT v.*, export, purpose, who FROM verdicts AS v
JOIN collections ON collections.id = v.collection
JOIN exports ON exports.id = export
WHERE v.verdict != 'open' AND v.id IN (
    SELECT max(verdicts.id) FROM verdicts JOIN collections ON collections.id = collection
    WHERE undone IS NULL GROUP BY verdicts.round, image, export);
CREATE VIEW opinions AS
SELECT round, image,
    max(CASE purpose WHEN 'review' THEN id END) AS review,
    max(CASE purpose WHEN 'second' THEN id END) AS second,
    max(CASE purpose WHEN 'decision' THEN id END) AS decision
FROM statements GROUP BY round, image;
CREATE VIEW current_verdicts AS
WITH compared AS MATERIALIZED (
    SELECT coalesce(decision, CASE WHEN r.verdict = 'unsure' AND s.verdict != 'unsure' THEN s.id END, review, second) AS id,
        coalesce(decision IS NULL AND r.verdict != 'unsure' AND s.verdict != 'unsure'
            AND (r.verdict != s.verdict OR r.label != s.label), 0) AS disputed
    FROM opinions
    LEFT JOIN verdicts AS r ON r.id = review AND second IS NOT NULL
    LEFT JOIN verdicts AS s ON s.id = second
)
SELECT v.id, collection, round, image, iif(disputed, 'unsure', verdict) AS verdict, iif(disputed, name, label) AS label,
    previous, v.digest, disputed
FROM compared
CROSS JOIN verdicts AS v ON v.id = compared.id
CROSS JOIN images ON images.id = image
CROSS JOIN classes ON classes.id = class
LIMIT -1;
CREATE VIEW ignores AS
WITH edits AS (
    SELECT * FROM ignore_edits WHERE id IN (SELECT max(id) FROM ignore_edits GROUP BY digest, label)
), confirmed AS (
    SELECT min(v.id) AS id FROM current_verdicts AS v
    LEFT JOIN edits ON edits.digest = v.digest AND edits.label = v.label
    WHERE v.verdict = 'correct' AND (edits.id IS NULL OR (edits.kind = 'removed' AND v.id > edits.verdict))
    GROUP BY v.digest, v.label
)
SELECT digest, label, path, at AS added, round FROM edits WHERE kind = 'added'
UNION ALL
SELECT v.digest, v.label, images.path, collections.at, v.round FROM confirmed
JOIN verdicts AS v ON v.id = confirmed.id
JOIN images ON images.id = v.image
JOIN collections ON collections.id = v.collection
""",
    )


@migrations()
def m007_stability(db: Database) -> None:
    """How much of the list the last pair of a round changed."""
    _statements(
        db,
        """
ALTER TABLE rounds ADD COLUMN strong_images INTEGER;
ALTER TABLE rounds ADD COLUMN strong_changed INTEGER
""",
    )


@migrations()
def m008_identical_images_with_two_labels(db: Database) -> None:
    """Whether an identical image of the round has another label, so that one of the two is wrong. Votes that were counted before
    say of none; a round whose votes are counted again does."""
    _statements(db, "ALTER TABLE tallies ADD COLUMN contradicted INTEGER NOT NULL DEFAULT 0")


@migrations()
def m009_ignores_by_index(db: Database) -> None:
    """The ignore list, found by index: each confirmed image was compared with every edit of the list."""
    _statements(
        db,
        """
DROP VIEW ignores;
CREATE VIEW ignores AS
WITH confirmed AS (
    SELECT min(v.id) AS id FROM current_verdicts AS v
    LEFT JOIN ignore_edits AS last ON last.id = (
        SELECT max(id) FROM ignore_edits AS e WHERE e.digest = v.digest AND e.label = v.label)
    WHERE v.verdict = 'correct' AND (last.id IS NULL OR (last.kind = 'removed' AND v.id > last.verdict))
    GROUP BY v.digest, v.label
)
SELECT digest, label, path, at AS added, round FROM ignore_edits
WHERE kind = 'added' AND id IN (SELECT max(id) FROM ignore_edits GROUP BY digest, label)
UNION ALL
SELECT v.digest, v.label, images.path, collections.at, v.round FROM confirmed
CROSS JOIN verdicts AS v ON v.id = confirmed.id
CROSS JOIN images ON images.id = v.image
CROSS JOIN collections ON collections.id = v.collection
""",
    )
