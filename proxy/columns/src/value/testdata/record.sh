#!/bin/sh
# Records anew what PostgreSQL makes of the inputs in *.txt beside this script.
#
# Usage: record.sh [psql connection options]     such as: record.sh -h /tmp/pg -U postgres
#
# Each line is in the text format of COPY: type, DateStyle (with `;IntervalStyle` where
# it is not postgres), TimeZone, input; the rest is recorded:
# what the server shows of the stored value, the hex of its send form, or the SQLSTATE. To add a
# case, write its first four columns. The server's encoding must be UTF8.
set -eu
cd "$(dirname "$0")"
for file in *.txt; do
    cut -f 1-4 "$file" > "$file.in"
    psql -X -q -v ON_ERROR_STOP=1 "$@" <<SQL
SET client_min_messages = warning;
CREATE TEMP TABLE cases (line serial, type text, date_style text, time_zone text, input text,
    shown text, sent text, state text);
\copy cases (type, date_style, time_zone, input) FROM '$file.in'
DO \$\$
DECLARE
    c record;
    cell text;
    send text;
    shown text;
    sent text;
    state text;
BEGIN
    FOR c IN SELECT * FROM cases ORDER BY line LOOP
        shown := NULL; sent := NULL; state := NULL;
        PERFORM set_config('DateStyle', split_part(c.date_style, ';', 1), false),
            set_config('IntervalStyle', coalesce(nullif(split_part(c.date_style, ';', 2), ''), 'postgres'), false),
            set_config('TimeZone', c.time_zone, false);
        cell := 'pg_temp.' || quote_ident('cells of ' || c.type);
        EXECUTE format('CREATE TEMP TABLE IF NOT EXISTS %s (value %s)', cell, c.type);
        SELECT typsend::regproc::text INTO send FROM pg_type WHERE oid = (
            SELECT atttypid FROM pg_attribute WHERE attrelid = cell::regclass AND attname = 'value');
        BEGIN
            EXECUTE format(
                'INSERT INTO %s VALUES (%L) RETURNING format(''%%s'', value), encode(%s(value), ''hex'')',
                cell, c.input, send) INTO shown, sent;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        END;
        EXECUTE 'UPDATE cases SET shown = \$1, sent = \$2, state = \$3 WHERE line = \$4'
            USING shown, sent, state, c.line;
    END LOOP;
END
\$\$;
\copy (SELECT type, date_style, time_zone, input, shown, sent, state FROM cases ORDER BY line) TO '$file'
SQL
    rm "$file.in"
done
