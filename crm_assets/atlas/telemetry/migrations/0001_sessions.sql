-- The tables that the Atlas SDK (0.1.16) reads and writes. Existing tables of the SDK are kept; only
-- missing columns are added.

CREATE TABLE IF NOT EXISTS sessions (
    id serial PRIMARY KEY,
    task text NOT NULL,
    status text NOT NULL DEFAULT 'running',      -- running, succeeded, failed
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);

ALTER TABLE sessions
    ADD COLUMN IF NOT EXISTS final_answer text,
    ADD COLUMN IF NOT EXISTS reward jsonb,
    ADD COLUMN IF NOT EXISTS reward_stats jsonb,  -- null, or with a numeric score
    ADD COLUMN IF NOT EXISTS reward_audit jsonb,
    ADD COLUMN IF NOT EXISTS student_learning text,
    ADD COLUMN IF NOT EXISTS teacher_learning text,
    ADD COLUMN IF NOT EXISTS review_status text NOT NULL DEFAULT 'pending',
    ADD COLUMN IF NOT EXISTS review_notes text;

CREATE TABLE IF NOT EXISTS plans (
    session_id integer PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    plan jsonb NOT NULL
);

CREATE TABLE IF NOT EXISTS step_results (
    session_id integer NOT NULL REFERENCES sessions ON DELETE CASCADE,
    step_id integer NOT NULL,
    trace text,
    output text,
    evaluation jsonb,                             -- evaluation.reward.score is numeric or absent
    attempts integer,
    PRIMARY KEY (session_id, step_id)
);

ALTER TABLE step_results ADD COLUMN IF NOT EXISTS metadata jsonb;

CREATE TABLE IF NOT EXISTS step_attempts (
    session_id integer NOT NULL REFERENCES sessions ON DELETE CASCADE,
    step_id integer NOT NULL,
    attempt integer NOT NULL,                     -- from 1
    evaluation jsonb,
    PRIMARY KEY (session_id, step_id, attempt)
);

CREATE TABLE IF NOT EXISTS guidance_notes (
    session_id integer NOT NULL REFERENCES sessions ON DELETE CASCADE,
    step_id integer NOT NULL,
    sequence integer NOT NULL,                    -- from 1
    note text NOT NULL,
    PRIMARY KEY (session_id, step_id, sequence)
);

CREATE TABLE IF NOT EXISTS trajectory_events (
    id serial PRIMARY KEY,
    session_id integer NOT NULL REFERENCES sessions ON DELETE CASCADE,
    event jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS learning_registry (
    learning_key text PRIMARY KEY,
    student_learning text,
    teacher_learning text,
    metadata jsonb,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS discovery_runs (       -- only for the SDK
    id serial PRIMARY KEY,
    project_root text NOT NULL,
    task text,
    source text NOT NULL DEFAULT 'discovery',
    payload jsonb NOT NULL,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS sessions_reward_score_idx
    ON sessions (((reward_stats ->> 'score')::float)) WHERE reward_stats IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_created_at_idx ON sessions (created_at DESC);
CREATE INDEX IF NOT EXISTS sessions_metadata_gin_idx ON sessions USING gin (metadata);
