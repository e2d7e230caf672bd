"""Events, who is told of them over HTTP, and who over a queue of their own.

Revision: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

EVENTS = """
CREATE TABLE events (
    at               timestamptz NOT NULL,
    xact             bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    client_id        integer NOT NULL,
    pending          boolean NOT NULL,
    instruction_ids  uuid[] NOT NULL DEFAULT '{}',
    shows            bytea NOT NULL DEFAULT '',
    documents        jsonb,
    CHECK (cardinality(instruction_ids) = length(shows)),
    PRIMARY KEY (client_id, xact, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE events IS
    'One row for what one transaction tells one client. What the ledger holds is named, not '
    'repeated; `documents` holds the events that are in no other table.';
COMMENT ON COLUMN events.xact IS
    'The transaction: rows below the oldest one that is running are complete, for ever.';
COMMENT ON COLUMN events.shows IS
    'For each instruction one byte of bits: 1 it succeeded, 2 it was rejected (to its '
    'submitter), 4 the debit, 8 the credit (to whoever may read that wallet).';
COMMENT ON COLUMN events.pending IS 'Somebody is to be told who has not been yet.';
CREATE INDEX events_pending ON events (xact) WHERE pending;
CREATE TABLE events_default PARTITION OF events DEFAULT;
"""

ENDPOINTS = """
CREATE TABLE callback_endpoints (
    id                uuid PRIMARY KEY,
    client_id         integer NOT NULL REFERENCES clients,
    url               text NOT NULL CHECK (length(url) <= 2048),
    events            text[] NOT NULL,
    enabled           boolean NOT NULL DEFAULT true,
    disabled_at       timestamptz,
    disabled_reason   text,
    failing_since     timestamptz,
    probe_at          timestamptz,
    leased_until      timestamptz,
    asked_at          timestamptz,
    secret            bytea NOT NULL,
    secret_key_id     text NOT NULL,
    old_secret        bytea,
    old_secret_key_id text,
    old_secret_until  timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    deleted_at        timestamptz,
    CHECK (num_nulls(old_secret, old_secret_key_id, old_secret_until) IN (0, 3)),
    CHECK (enabled = (disabled_at IS NULL))
) WITH (fillfactor = 50);
COMMENT ON COLUMN callback_endpoints.secret IS 'Encrypted by the key that secret_key_id names.';
COMMENT ON COLUMN callback_endpoints.probe_at IS 'While it fails: not tried before.';
COMMENT ON COLUMN callback_endpoints.leased_until IS 'Until then somebody delivers to it.';
COMMENT ON COLUMN callback_endpoints.asked_at IS
    'A message is on its way since then that has somebody deliver to it.';
CREATE INDEX callback_endpoints_client ON callback_endpoints (client_id, id)
    WHERE deleted_at IS NULL;

CREATE TABLE deliveries (
    event_at         timestamptz NOT NULL,
    next_attempt_at  timestamptz NOT NULL,
    delivered_at     timestamptz,
    xact             bigint NOT NULL,
    ordinal          integer NOT NULL,
    endpoint_id      uuid NOT NULL,
    event_id         uuid NOT NULL,
    event_type       text NOT NULL,
    status           text NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'delivered', 'exhausted')),
    attempts         jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (endpoint_id, event_id, event_at)
) PARTITION BY RANGE (event_at);
COMMENT ON TABLE deliveries IS
    'One row for each event and endpoint that wants it. xact and ordinal say where in `events`.';
COMMENT ON COLUMN deliveries.attempts IS
    'Oldest first: when, how long in milliseconds, and the status or the fault.';
CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_attempt_at)
    WHERE status = 'pending';
-- What was given up is found among millions. It costs nothing where deliveries arrive.
CREATE INDEX deliveries_exhausted ON deliveries (endpoint_id, event_at, event_id)
    WHERE status = 'exhausted';
CREATE INDEX deliveries_newest ON deliveries (endpoint_id, event_at, event_id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
"""

PARTNERS = """
CREATE TABLE partners (
    client_id         integer PRIMARY KEY REFERENCES clients,
    rate_per_s        integer NOT NULL CHECK (rate_per_s > 0),
    suspended_at      timestamptz,
    suspended_reason  text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    removed_at        timestamptz,
    CHECK ((suspended_at IS NULL) = (suspended_reason IS NULL))
);
COMMENT ON TABLE partners IS 'Clients with an exchange and a queue of their own.';
"""

# A day's partition is made ahead of time. If that is forgotten, the day's rows go to the
# default partition and nothing fails: what decides about money must not wait for a broom.
ROLL_DAYS = """
CREATE FUNCTION roll_days(today date) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    ahead CONSTANT integer := 7;
    kept CONSTANT integer := 30;
    parent text;
    moment text;
    day date;
    strays boolean;
    old regclass;
BEGIN
    FOR parent, moment IN VALUES ('events', 'at'), ('deliveries', 'event_at') LOOP
        FOR day IN SELECT generate_series(today, today + ahead, '1 day')::date LOOP
            CONTINUE WHEN to_regclass(parent || to_char(day, '_YYYYMMDD')) IS NOT NULL;
            EXECUTE format(
                'SELECT EXISTS (SELECT FROM %I WHERE %I >= %L AND %I < %L)', parent || '_default',
                moment, day::timestamp AT TIME ZONE 'UTC',
                moment, (day + 1)::timestamp AT TIME ZONE 'UTC'
            ) INTO strays;
            CONTINUE WHEN strays;
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                parent || to_char(day, '_YYYYMMDD'), parent,
                day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC'
            );
        END LOOP;
        FOR old IN
            SELECT inhrelid FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = parent::regclass AND relname ~ (parent || '_\\d{8}$')
              AND to_date(right(relname, 8), 'YYYYMMDD') < today - kept
        LOOP
            EXECUTE format('DROP TABLE %s', old);
        END LOOP;
        EXECUTE format('DELETE FROM %I WHERE %I < %L', parent || '_default',
                       moment, (today - kept)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$;
COMMENT ON FUNCTION roll_days(date) IS
    'Make the partitions of a day and the 7 after it; drop those over 30 days older. '
    'Days are UTC.';

-- A role that may have the days rolled does not choose the day, or it could end them early.
CREATE FUNCTION roll_days() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT roll_days(CAST(now() AT TIME ZONE 'UTC' AS date))
$$;
COMMENT ON FUNCTION roll_days() IS 'Roll the days as of today.';
REVOKE ALL ON FUNCTION roll_days(date), roll_days() FROM PUBLIC;
"""


def upgrade() -> None:
    for statements in (EVENTS, ENDPOINTS, PARTNERS, ROLL_DAYS):
        op.execute(statements)
