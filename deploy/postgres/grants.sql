-- What each role may do with each table, and nothing else. Run by the owner after each migration;
-- running it again changes nothing. A table that is not named here is nobody's but the owner's.
\set ON_ERROR_STOP on
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM tekana_api, tekana_ledger, tekana_operator;

-- The API authenticates and answers questions.
GRANT SELECT ON
    api_keys, clients, customers, grants, instructions, openings, parked, wallets
    TO tekana_api;

-- A worker decides: it adds instructions, and moves balances and its partition's position.
GRANT SELECT ON
    clients, customers, grants, instructions, parked, partitions, settlement_floors, wallets
    TO tekana_ledger;
GRANT INSERT ON customers, instructions, openings, parked, wallets TO tekana_ledger;
GRANT UPDATE (balance, seq) ON wallets TO tekana_ledger;
GRANT UPDATE (position) ON partitions TO tekana_ledger;

-- An operator reads everything but the keys' digests and what people said to open accounts,
-- provisions clients, pauses partitions and resolves what is parked.
GRANT SELECT ON
    clients, customers, grants, instructions, operator_actions, parked, partitions,
    settlement_floors, wallets, alembic_version
    TO tekana_operator;
GRANT SELECT (id, client_id, hint, scopes, created_at, expires_at, revoked_at) ON api_keys
    TO tekana_operator;
GRANT INSERT ON api_keys, clients, grants, operator_actions, settlement_floors
    TO tekana_operator;
GRANT UPDATE (revoked_at) ON api_keys TO tekana_operator;
GRANT UPDATE (paused_at, pause_who, pause_reason) ON partitions TO tekana_operator;
GRANT UPDATE (resolution, resolved_at) ON parked TO tekana_operator;
COMMIT;
