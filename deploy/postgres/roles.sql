-- The login roles, each with the password of the process that uses it, and the database's owner.
-- Run by a superuser in the database, before the first migration: by the image itself when it
-- makes its data. After a password was changed in .env, a container that knows it runs it again,
-- before the processes that use it are started anew:
--   docker compose up -d postgres
--   docker compose exec postgres psql -U postgres -d tekana -f /docker-entrypoint-initdb.d/roles.sql
--   docker compose up -d
\set ON_ERROR_STOP on
\getenv owner OWNER_PASSWORD
\getenv api API_PASSWORD
\getenv ledger LEDGER_PASSWORD
\getenv inbox INBOX_PASSWORD
\getenv callbacks CALLBACKS_PASSWORD
\getenv operator OPERATOR_PASSWORD

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY[
    'tekana_owner', 'tekana_api', 'tekana_ledger', 'tekana_inbox', 'tekana_callbacks',
    'tekana_operator'
]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE tekana_owner LOGIN PASSWORD :'owner';        -- migrations alone
ALTER ROLE tekana_api LOGIN PASSWORD :'api';            -- reads
ALTER ROLE tekana_ledger LOGIN PASSWORD :'ledger';      -- posts
ALTER ROLE tekana_inbox LOGIN PASSWORD :'inbox';        -- gives partners their receipts
ALTER ROLE tekana_callbacks LOGIN PASSWORD :'callbacks';  -- tells clients what was decided
ALTER ROLE tekana_operator LOGIN PASSWORD :'operator';  -- provisions, and rejects what is parked

-- An operator's rejection is a posting.
GRANT tekana_ledger TO tekana_operator;

-- A second lock on the door that only reads: it cannot write even what it was granted by mistake,
-- unless it says that it wants to.
ALTER ROLE tekana_api SET default_transaction_read_only = on;

SELECT format('ALTER DATABASE %I OWNER TO tekana_owner', current_database()) \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format(
    'GRANT CONNECT ON DATABASE %I '
    'TO tekana_api, tekana_ledger, tekana_inbox, tekana_callbacks, tekana_operator',
    current_database()
) \gexec
ALTER SCHEMA public OWNER TO tekana_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public
    TO tekana_api, tekana_ledger, tekana_inbox, tekana_callbacks, tekana_operator;
