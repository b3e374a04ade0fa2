-- Indexes for the queries of crm_assets.

-- The last sessions of a learning key; also serves queries by key alone.
CREATE INDEX IF NOT EXISTS crm_assets_sessions_of_key_idx
    ON sessions ((metadata ->> 'learning_key'), id);

-- The sessions of a run.
CREATE INDEX IF NOT EXISTS crm_assets_sessions_of_run_idx
    ON sessions ((metadata ->> 'run_id'), (metadata ->> 'session_key'), id);

-- Sessions that are not closed yet.
CREATE INDEX IF NOT EXISTS crm_assets_sessions_running_idx ON sessions (id) WHERE status = 'running';

-- A session's events in order: without it each export of a session reads the whole table.
CREATE INDEX IF NOT EXISTS crm_assets_events_of_session_idx ON trajectory_events (session_id, id);
