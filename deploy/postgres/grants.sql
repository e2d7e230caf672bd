-- What each role may do with each table, and nothing else. Run by the owner after each migration;
-- running it again changes nothing. A table that is not named here is nobody's but the owner's.
\set ON_ERROR_STOP on
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM tekana_api, tekana_ledger, tekana_inbox, tekana_callbacks, tekana_operator;

-- The API authenticates and answers questions.
GRANT SELECT ON
    api_keys, clients, customers, events, grants, instructions, openings, parked, wallets
    TO tekana_api;
-- It keeps the endpoints of callbacks, and has deliveries repeated.
GRANT SELECT ON callback_endpoints, deliveries TO tekana_api;
GRANT INSERT (id, client_id, url, events, secret, secret_key_id) ON callback_endpoints
    TO tekana_api;
GRANT UPDATE (
    url, events, enabled, disabled_at, disabled_reason, failing_since, probe_at, secret,
    secret_key_id, old_secret, old_secret_key_id, old_secret_until, deleted_at
) ON callback_endpoints TO tekana_api;
GRANT UPDATE (status, next_attempt_at, delivered_at, attempts) ON deliveries TO tekana_api;
-- It refuses to start with another partition count than the database's.
GRANT SELECT (id) ON partitions TO tekana_api;

-- A worker decides: it adds instructions, and moves balances and its partition's position.
GRANT SELECT ON
    customers, grants, instructions, partitions, settlement_floors, wallets
    TO tekana_ledger;
-- To park a message once, it must be able to see whether the same bytes wait already.
GRANT SELECT (partition, body, resolution, id) ON parked TO tekana_ledger;
GRANT INSERT ON customers, events, instructions, openings, parked, wallets TO tekana_ledger;
-- What it writes of events it does not read again, but for whether somebody waits to be told.
GRANT SELECT (xact, pending) ON events TO tekana_ledger;
GRANT SELECT (client_id, enabled, deleted_at) ON callback_endpoints TO tekana_ledger;
GRANT SELECT (client_id, removed_at) ON partners TO tekana_ledger;
GRANT UPDATE (balance, seq) ON wallets TO tekana_ledger;
GRANT UPDATE (position) ON partitions TO tekana_ledger;

-- An inbox worker looks up who a partner is and what was decided of its keys, and writes receipts.
-- It decides nothing, and of wallets it reads whose they are, not what they hold.
GRANT SELECT ON grants, instructions, openings TO tekana_inbox;
GRANT SELECT (id, client_id, customer_id) ON wallets TO tekana_inbox;
GRANT SELECT (id, name, scopes) ON clients TO tekana_inbox;
GRANT SELECT ON partners TO tekana_inbox;
GRANT SELECT (id) ON partitions TO tekana_inbox;
GRANT INSERT (at, client_id, pending, documents) ON events TO tekana_inbox;
GRANT SELECT (xact, pending) ON events TO tekana_inbox;
GRANT SELECT (client_id, enabled, deleted_at) ON callback_endpoints TO tekana_inbox;

-- A callback worker reads what is to be told and to whom, and notes how that went. It decides
-- nothing, and of wallets it reads whose they are, not what they hold.
GRANT SELECT ON callback_endpoints, deliveries, events, grants, instructions, openings
    TO tekana_callbacks;
GRANT SELECT (id, client_id, customer_id) ON wallets TO tekana_callbacks;
GRANT SELECT (id, name) ON clients TO tekana_callbacks;
GRANT SELECT (client_id, removed_at) ON partners TO tekana_callbacks;
GRANT UPDATE (pending) ON events TO tekana_callbacks;
GRANT INSERT (event_at, next_attempt_at, xact, ordinal, endpoint_id, event_id, event_type)
    ON deliveries TO tekana_callbacks;
GRANT UPDATE (status, next_attempt_at, delivered_at, attempts) ON deliveries
    TO tekana_callbacks;
GRANT UPDATE (
    leased_until, asked_at, failing_since, probe_at, enabled, disabled_at, disabled_reason
)
    ON callback_endpoints TO tekana_callbacks;
-- The days of events come and go; which ones is the function's affair.
REVOKE ALL ON FUNCTION roll_days(date), roll_days() FROM tekana_callbacks;
GRANT EXECUTE ON FUNCTION roll_days() TO tekana_callbacks;

-- An operator may do what a worker may (roles.sql), provisions clients, pauses partitions and
-- resolves what is parked. Keys are seen without their digests.
GRANT SELECT ON clients, operator_actions, parked TO tekana_operator;
GRANT SELECT (id, client_id, hint, scopes, created_at, expires_at, revoked_at) ON api_keys
    TO tekana_operator;
GRANT INSERT ON api_keys, clients, grants, operator_actions, settlement_floors
    TO tekana_operator;
GRANT UPDATE (revoked_at) ON api_keys TO tekana_operator;
GRANT UPDATE (paused_at, pause_who, pause_reason) ON partitions TO tekana_operator;
GRANT UPDATE (resolution, resolved_at) ON parked TO tekana_operator;
-- Callbacks: secrets are encrypted anew, never seen; deliveries are repeated.
GRANT SELECT ON callback_endpoints, deliveries TO tekana_operator;
GRANT UPDATE (
    secret, secret_key_id, old_secret, old_secret_key_id, old_secret_until, probe_at
) ON callback_endpoints TO tekana_operator;
GRANT UPDATE (status, next_attempt_at, delivered_at, attempts) ON deliveries TO tekana_operator;
-- Partners are made, suspended and removed; who one is never changes.
GRANT SELECT ON partners TO tekana_operator;
GRANT INSERT (client_id, rate_per_s) ON partners TO tekana_operator;
GRANT UPDATE (rate_per_s, suspended_at, suspended_reason, removed_at) ON partners
    TO tekana_operator;
COMMIT;
