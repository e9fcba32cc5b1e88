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
, rule TEXT CHECK (rule IN ('votes', 'score')), strong_images INTEGER, strong_changed INTEGER);
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
    score REAL NOT NULL, contradicted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (round, image)
) WITHOUT ROWID;
CREATE TABLE exports (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    key TEXT NOT NULL UNIQUE,
    tree TEXT NOT NULL,
    created TEXT NOT NULL
, purpose TEXT NOT NULL DEFAULT 'review' CHECK (purpose IN ('review', 'second', 'decision')), withdrawn TEXT);
CREATE TABLE exported_files (
    export INTEGER NOT NULL REFERENCES exports (id),
    path TEXT NOT NULL,
    image INTEGER NOT NULL REFERENCES images (id), stratum INTEGER, population INTEGER,
    PRIMARY KEY (export, path)
) WITHOUT ROWID;
CREATE TABLE collections (
    id INTEGER PRIMARY KEY,
    export INTEGER NOT NULL REFERENCES exports (id),
    at TEXT NOT NULL,
    who TEXT NOT NULL
, undone TEXT, tree TEXT NOT NULL DEFAULT '');
CREATE TABLE applications (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds (id),
    at TEXT NOT NULL,
    destination TEXT NOT NULL,
    mode TEXT NOT NULL
, undone TEXT, collection INTEGER REFERENCES collections (id), who TEXT NOT NULL DEFAULT '');
CREATE TABLE corrections (
    application INTEGER NOT NULL REFERENCES applications (id),
    image INTEGER NOT NULL REFERENCES images (id),
    path TEXT NOT NULL,
    old_label TEXT NOT NULL,
    new_label TEXT NOT NULL,
    new_path TEXT NOT NULL, digest TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (application, image)
) WITHOUT ROWID
;
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
CREATE TABLE predictions (
    run INTEGER NOT NULL,
    image INTEGER NOT NULL,
    predicted INTEGER NOT NULL,
    probability REAL NOT NULL,
    probability_given REAL NOT NULL,
    PRIMARY KEY (run, image)
) WITHOUT ROWID;
CREATE TABLE finished (
    collection INTEGER NOT NULL REFERENCES collections (id),
    label TEXT NOT NULL,
    PRIMARY KEY (collection, label)
) WITHOUT ROWID;
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
CREATE TABLE "verdicts" (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id),
    round INTEGER NOT NULL REFERENCES rounds (id),
    image INTEGER NOT NULL REFERENCES images (id),
    verdict TEXT NOT NULL CHECK (verdict IN ('correct', 'relabel', 'expunge', 'unsure', 'open')),
    label TEXT NOT NULL,
    previous TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT ''
);
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
CROSS JOIN collections ON collections.id = v.collection;
