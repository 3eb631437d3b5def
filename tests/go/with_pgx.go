// A ward's day through pgx: its caches of statements, batches, binary COPY, database/sql. With the argument
// `tls` no more than a connection whose certificate is verified, an error on it, and a cancel request.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgconn/stmtcache"
	"github.com/jackc/pgtype"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	"github.com/jackc/pgx/v4/stdlib"
)

const insert = `INSERT INTO patients (id, name, ssn, mrn, born, seen, visits, account, grade, insured, token, balance,
	photo, notes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

var (
	background = context.Background()
	mark       = os.Getenv("MARK")
	columns    = []string{"id", "name", "ssn", "mrn", "born", "seen", "visits", "account", "grade", "insured", "token",
		"balance", "photo", "notes"}
)

func ssn(number int) string { return fmt.Sprintf("%s-%d", mark, number) }

// The values of a row, as Go has them: pgx encodes each by the type that the server tells of.
func patient(number int) []interface{} {
	var name interface{}
	if number%5 > 0 {
		name = fmt.Sprintf("%s Name %d 'quoted' \\ äöü", mark, number)
	}
	return []interface{}{
		number, name, ssn(number), fmt.Sprintf("m%d", number),
		time.Date(1950, 1, 1+number*37, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 2, 29, 13, 14, 15, number*1000, time.UTC),
		number % 7, int64(number) << 40, int16(-number), number%2 == 0,
		fmt.Sprintf("00000000-0000-4000-8000-%012d", number), float64(number) / 4,
		[]byte{0, 255, byte(number)}, map[string]interface{}{"n": number, "who": mark},
	}
}

func value(of interface{}) string {
	switch of := of.(type) {
	case time.Time:
		return of.UTC().Format(time.RFC3339Nano)
	case pgtype.Numeric:
		var number float64
		if err := of.AssignTo(&number); err != nil {
			return err.Error()
		}
		return fmt.Sprint(number)
	case map[string]interface{}:
		text, _ := json.Marshal(of)
		return string(text)
	}
	return fmt.Sprintf("%v", of)
}

type querier interface {
	Query(context.Context, string, ...interface{}) (pgx.Rows, error)
}

func print(label string, rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		for at := range values {
			values[at] = value(values[at])
		}
		fmt.Println(label, values)
	}
	fmt.Println(label, rows.CommandTag())
	return rows.Err()
}

func show(on querier, label, query string, arguments ...interface{}) error {
	rows, err := on.Query(background, query, arguments...)
	if err != nil {
		return err
	}
	return print(label, rows)
}

// What an application can tell from an error: the message may differ where it would quote a value.
func code(err error) string {
	var found *pgconn.PgError
	if errors.As(err, &found) {
		return fmt.Sprint(found.Severity, " ", found.Code, " ", found.TableName, " ", found.ConstraintName)
	}
	return fmt.Sprint(err)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func schema(on *pgx.Conn) error {
	_, err := on.Exec(background, `
		CREATE TABLE patients (id int PRIMARY KEY, name text, ssn text UNIQUE, mrn varchar(12), born date,
			seen timestamptz, visits int4, account int8, grade int2, insured bool, token uuid, balance numeric(12,2),
			photo bytea, notes jsonb);
		CREATE TABLE visits (id serial PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int);
		CREATE TABLE wards (id serial PRIMARY KEY, name text);
		INSERT INTO wards (name) VALUES ('Cardiology'), ('Maternity')`)
	return err
}

// The same twice over, with the numbers from `from` on: the second time from the driver's cache.
func rows(on *pgx.Conn, from int) error {
	for number := from; number < from+8; number++ {
		tag, err := on.Exec(background, insert, patient(number)...)
		if err != nil {
			return err
		}
		fmt.Println(tag)
	}
	for round := 0; round < 2; round++ {
		someone := patient(from + 3 + round)
		err := first(
			show(on, "all", "SELECT * FROM patients WHERE id >= $1 ORDER BY id", from),
			show(on, "ssn", "SELECT id, name FROM patients WHERE ssn = $1", someone[2]),
			show(on, "born", "SELECT id, born FROM patients WHERE born = $1", someone[4]),
			show(on, "token", "SELECT id, token FROM patients WHERE token = $1", someone[10]),
			show(on, "numbers", "SELECT id FROM patients WHERE visits = $1 OR account = $2 OR grade = $3 OR balance = $4 ORDER BY id",
				3, someone[7], -from, 1.5),
			show(on, "update", "UPDATE patients SET name = $1, notes = $2 WHERE ssn = $3 RETURNING id, name, notes",
				fmt.Sprint(mark, " updated ", round), map[string]interface{}{"round": round}, someone[2]),
			show(on, "null", "UPDATE patients SET name = $1, visits = $2 WHERE ssn = $3 RETURNING name, visits", nil, nil, someone[2]),
			show(on, "join", "SELECT w.name, p.ssn FROM patients p JOIN wards w ON w.id = 1 WHERE p.mrn = $1", someone[3]),
			show(on, "none", "SELECT id FROM patients WHERE ssn = $1", mark+"-none"),
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func scans(on *pgx.Conn) error {
	var (
		id, visits int
		name       *string
		born, seen time.Time
		account    int64
		grade      int16
		insured    bool
		token      [16]byte
		balance    float64
		photo      []byte
		notes      struct {
			N   int
			Who string
		}
	)
	row := on.QueryRow(background, "SELECT id, visits, name, born, seen, account, grade, insured, token, balance, photo, notes FROM patients WHERE ssn = $1", ssn(6))
	if err := row.Scan(&id, &visits, &name, &born, &seen, &account, &grade, &insured, &token, &balance, &photo, &notes); err != nil {
		return err
	}
	fmt.Println(id, visits, *name, value(born), value(seen), account, grade, insured, token, balance, photo, notes)
	fmt.Println(on.QueryRow(background, "SELECT name FROM patients WHERE ssn = $1", mark+"-none").Scan(&name))

	described, err := on.Prepare(background, "described", "SELECT p.*, upper(w.name) AS loud FROM patients p LEFT JOIN wards w ON w.id = p.id WHERE p.ssn = $1 OR born = $2 OR w.name = $3")
	if err != nil {
		return err
	}
	fmt.Println(described.ParamOIDs)
	for _, field := range described.Fields {
		fmt.Println(string(field.Name), field.TableAttributeNumber, field.DataTypeOID, field.DataTypeSize, field.TypeModifier, field.Format)
	}
	// By its name, in either format of parameter and result.
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		read := on.PgConn().ExecPrepared(background, "described", [][]byte{[]byte(ssn(6)), nil, []byte("Maternity")},
			[]int16{format, 0, format}, []int16{format}).Read()
		fmt.Println(read.CommandTag, read.Err)
		for _, row := range read.Rows {
			fmt.Printf("%q\n", row)
		}
	}
	return on.Deallocate(background, "described")
}

func arrays(on *pgx.Conn) error {
	wanted := []string{ssn(1), ssn(2), ssn(99)}
	return first(
		show(on, "any", "SELECT id FROM patients WHERE ssn = ANY($1) ORDER BY id", wanted),
		show(on, "any", "SELECT id FROM patients WHERE ssn = ANY($1::text[]) ORDER BY id", wanted),
		show(on, "empty", "SELECT id FROM patients WHERE ssn = ANY($1)", []string{}),
		show(on, "all", "SELECT id FROM patients WHERE visits <> ALL($1) ORDER BY id", []int32{1, 2}),
		show(on, "unnest", "INSERT INTO visits (patient_ssn, reason) SELECT * FROM unnest($1::text[], $2::text[]) RETURNING id, reason",
			wanted, []string{mark + " one", mark + " two", mark + " three"}),
	)
}

func batches(on *pgx.Conn) error {
	batch := &pgx.Batch{}
	for number := 20; number < 40; number++ {
		batch.Queue(insert, patient(number)...)
	}
	batch.Queue("SELECT id, name FROM patients WHERE ssn = $1", ssn(25))
	batch.Queue("UPDATE patients SET mrn = $1 WHERE ssn = $2", "batched", ssn(26))
	batch.Queue("SELECT id, mrn FROM patients WHERE mrn = $1", "batched")
	batch.Queue("SELECT count(*) FROM wards")
	results := on.SendBatch(background, batch)
	for number := 20; number < 40; number++ {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, label := range []string{"selected", "updated", "found", "counted"} {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if err := print(label, rows); err != nil {
			return err
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	// One of them fails: all are undone, for they are one transaction.
	failing := &pgx.Batch{}
	for _, number := range []int{70, 71, 20, 72} {
		failing.Queue("INSERT INTO patients (id, ssn) VALUES ($1, $2)", number, ssn(number))
	}
	results = on.SendBatch(background, failing)
	for range []int{70, 71, 20, 72} {
		tag, err := results.Exec()
		fmt.Println(tag, code(err))
	}
	fmt.Println(code(results.Close()))
	return show(on, "afterwards", "SELECT count(*), count(name) FROM patients WHERE id > $1", 60)
}

func transactions(on *pgx.Conn) error {
	err := on.BeginFunc(background, func(outer pgx.Tx) error {
		if _, err := outer.Exec(background, "UPDATE patients SET name = $1 WHERE ssn = $2", mark+" kept", ssn(1)); err != nil {
			return err
		}
		err := outer.BeginFunc(background, func(inner pgx.Tx) error {
			_, err := inner.Exec(background, "INSERT INTO patients (id, ssn) VALUES ($1, $2)", 900, ssn(3))
			return err
		})
		fmt.Println("savepoint", code(err))
		return show(outer, "inside", "DELETE FROM patients WHERE ssn = $1 RETURNING id, name", ssn(39))
	})
	if err != nil {
		return err
	}
	reading, err := on.BeginTx(background, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	_, err = reading.Exec(background, "DELETE FROM patients WHERE ssn = $1", ssn(2))
	fmt.Println("read only", code(err))
	_, err = reading.Exec(background, "SELECT 1")
	fmt.Println("aborted", code(err), reading.Rollback(background))
	return show(on, "kept", "SELECT id, name FROM patients WHERE ssn = ANY($1) ORDER BY id", []string{ssn(1), ssn(39)})
}

func failures(on *pgx.Conn) error {
	for _, one := range []struct {
		statement string
		arguments []interface{}
	}{
		{"INSERT INTO patients (id, ssn) VALUES ($1, $2)", []interface{}{900, ssn(4)}},
		{"INSERT INTO patients (id, mrn) VALUES ($1, $2)", []interface{}{900, mark + " longer than twelve"}},
		{"INSERT INTO visits (reason) VALUES ($1)", []interface{}{mark}},
		{"SELECT no_such_column FROM patients WHERE ssn = $1", []interface{}{mark}},
		{"SELECT 1 / cost FROM (SELECT 0 AS cost) AS zero WHERE $1 <> ''", []interface{}{"x"}},
		{"SELEC 1", nil},
	} {
		// As often as the cache needs to forget what failed.
		for round := 0; round < 2; round++ {
			_, err := on.Exec(background, one.statement, one.arguments...)
			fmt.Println(code(err))
		}
	}
	// Refused by the driver itself, which knows the column's type.
	_, err := on.Exec(background, "UPDATE patients SET visits = $1 WHERE ssn = $2", "no number", ssn(4))
	fmt.Println(err != nil)
	return show(on, "afterwards", "SELECT id FROM patients WHERE ssn = $1", ssn(4))
}

func copies(on *pgx.Conn) error {
	count, err := on.CopyFrom(background, pgx.Identifier{"patients"}, columns,
		pgx.CopyFromSlice(50, func(at int) ([]interface{}, error) {
			row := patient(100 + at)
			// As the driver would not make binary of a text.
			row[10] = [16]byte{0: 170, 15: byte(at)}
			return row, nil
		}))
	fmt.Println(count, code(err))
	count, err = on.CopyFrom(background, pgx.Identifier{"public", "visits"}, []string{"patient_ssn", "reason"},
		pgx.CopyFromRows([][]interface{}{{ssn(1), mark + " copied"}, {ssn(2), nil}}))
	fmt.Println(count, code(err))
	// Text where binary belongs; one row twice; a source that fails in the middle; a column that must not be NULL.
	_, err = on.CopyFrom(background, pgx.Identifier{"patients"}, []string{"id", "token"},
		pgx.CopyFromRows([][]interface{}{{160, "00000000-0000-4000-8000-000000000160"}}))
	fmt.Println(code(err))
	_, err = on.CopyFrom(background, pgx.Identifier{"patients"}, []string{"id", "ssn"},
		pgx.CopyFromRows([][]interface{}{{160, ssn(160)}, {161, ssn(160)}}))
	fmt.Println(code(err))
	_, err = on.CopyFrom(background, pgx.Identifier{"patients"}, []string{"id", "ssn"},
		pgx.CopyFromSlice(9, func(at int) ([]interface{}, error) {
			if at == 5 {
				return nil, errors.New("the source failed")
			}
			return []interface{}{170 + at, ssn(170 + at)}, nil
		}))
	fmt.Println(code(err))
	_, err = on.CopyFrom(background, pgx.Identifier{"visits"}, []string{"patient_ssn", "reason"}, pgx.CopyFromRows([][]interface{}{{nil, mark}}))
	fmt.Println(code(err))
	if err := show(on, "copied", "SELECT * FROM patients WHERE id >= 100 ORDER BY id"); err != nil {
		return err
	}
	lines := strings.NewReader(fmt.Sprintf("200,%s,\"%s, \"\"quoted\"\"\"\n201,%s,\n", ssn(200), mark, ssn(201)))
	tag, err := on.PgConn().CopyFrom(background, lines, "COPY patients (id, ssn, name) FROM STDIN WITH (FORMAT csv)")
	fmt.Println(tag, code(err))
	for _, format := range []string{"text", "csv", "binary"} {
		var out strings.Builder
		tag, err := on.PgConn().CopyTo(background, &out, "COPY (SELECT id, ssn, name, visits, born FROM patients WHERE id >= 195 ORDER BY id) TO STDOUT (FORMAT "+format+")")
		fmt.Printf("%s %s %q\n", tag, code(err), out.String())
	}
	_, err = on.PgConn().CopyTo(background, io.Discard, "COPY (SELECT 1/0) TO STDOUT")
	fmt.Println(code(err))
	return show(on, "afterwards", "SELECT count(*) FROM patients WHERE ssn = $1", ssn(200))
}

// Values are literals here, a date among them a moment, as PostgreSQL takes it.
func simple(on *pgx.Conn) error {
	by := pgx.QuerySimpleProtocol(true)
	values := append([]interface{}{by}, patient(300)...)
	values[14] = fmt.Sprintf(`{"n": 300, "who": %q}`, mark)
	if _, err := on.Exec(background, insert, values...); err != nil {
		return err
	}
	return first(
		show(on, "simple", "SELECT * FROM patients WHERE ssn = $1", by, ssn(300)),
		show(on, "simple", "SELECT id FROM patients WHERE account = $1 AND born = $2", by, int64(300)<<40, patient(300)[4]),
		show(on, "negative", "SELECT id FROM patients WHERE grade = $1 AND balance = $2", by, -300, 75.0),
		show(on, "any", "SELECT id FROM patients WHERE ssn = ANY($1)", by, []string{ssn(300)}),
	)
}

func pooled(pool *pgxpool.Pool) error {
	answers := make([]chan string, 24)
	for at := range answers {
		answers[at] = make(chan string, 1)
		go func(at int) {
			var name *string
			err := pool.QueryRow(background, "SELECT ssn FROM patients WHERE ssn = $1 OR mrn = $2", ssn(100+at), fmt.Sprint("m", 100+at)).Scan(&name)
			if err != nil {
				answers[at] <- code(err)
			} else {
				answers[at] <- *name
			}
		}(at)
	}
	for _, answer := range answers {
		fmt.Println("together", <-answer)
	}
	return nil
}

func standard(db *sql.DB) error {
	var name sql.NullString
	var born time.Time
	var photo []byte
	statement, err := db.Prepare("SELECT name, born, photo FROM patients WHERE ssn = $1")
	if err != nil {
		return err
	}
	for _, number := range []int{104, 105, 104} {
		if err := statement.QueryRow(ssn(number)).Scan(&name, &born, &photo); err != nil {
			return err
		}
		fmt.Println(name, value(born), photo)
	}
	changed, err := db.Exec("UPDATE patients SET name = $1, born = $2, account = $3, insured = $4, photo = $5 WHERE ssn = $6",
		mark+" standard", time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC), int64(7), true, []byte{1, 2}, ssn(104))
	if err != nil {
		return err
	}
	fmt.Println(changed.RowsAffected())
	fmt.Println(db.QueryRow("SELECT name, born, photo FROM patients WHERE account = $1", 7).Scan(&name, &born, &photo), name, value(born), photo)
	_, err = db.Exec("INSERT INTO patients (id, ssn) VALUES ($1, $2)", 104, ssn(104))
	fmt.Println(code(err))
	return statement.Close()
}

func part(name string, err error) {
	if err != nil {
		fmt.Println("FAILED", name, code(err), err)
	}
}

func ward() error {
	config, err := pgx.ParseConfig(os.Getenv("URL"))
	if err != nil {
		return err
	}
	config.RuntimeParams["application_name"] = "ward"
	for at, cache := range []pgx.BuildStatementCacheFunc{
		func(on *pgconn.PgConn) stmtcache.Cache { return stmtcache.New(on, stmtcache.ModePrepare, 5) },
		func(on *pgconn.PgConn) stmtcache.Cache { return stmtcache.New(on, stmtcache.ModeDescribe, 512) },
		nil,
	} {
		config.BuildStatementCache = cache
		on, err := pgx.ConnectConfig(background, config)
		if err != nil {
			return err
		}
		if at == 0 {
			part("schema", schema(on))
		}
		part("rows", rows(on, 1+400*at))
		part("scans", scans(on))
		part("arrays", arrays(on))
		if at == 0 {
			part("batches", batches(on))
			part("copies", copies(on))
			part("simple", simple(on))
		}
		part("transactions", transactions(on))
		part("failures", failures(on))
		if err := on.Close(background); err != nil {
			return err
		}
	}
	several, err := pgxpool.ParseConfig(os.Getenv("URL"))
	if err != nil {
		return err
	}
	several.MaxConns = 3
	pool, err := pgxpool.ConnectConfig(background, several)
	if err != nil {
		return err
	}
	part("pooled", pooled(pool))
	pool.Close()
	db := stdlib.OpenDB(*config)
	part("standard", standard(db))
	return db.Close()
}

func overTLS() error {
	target, err := url.Parse(os.Getenv("URL"))
	if err != nil {
		return err
	}
	target.Host = "localhost:" + target.Port()
	target.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {os.Getenv("CA")}}.Encode()
	on, err := pgx.Connect(background, target.String())
	if err != nil {
		// What a test of another authority looks for.
		fmt.Println(err)
		return nil
	}
	var answer int
	if err := on.QueryRow(background, "SELECT 40 + $1::int", 2).Scan(&answer); err != nil {
		return err
	}
	fmt.Println(answer)
	_, err = on.Exec(background, "SELECT 1/0")
	fmt.Println(code(err))
	go func() {
		time.Sleep(300 * time.Millisecond)
		if err := on.PgConn().CancelRequest(background); err != nil {
			fmt.Println(err)
		}
	}()
	_, err = on.Exec(background, "SELECT pg_sleep(30)")
	fmt.Println(code(err))
	return on.Close(background)
}

func main() {
	run := ward
	if len(os.Args) > 1 && os.Args[1] == "tls" {
		run = overTLS
	}
	if err := run(); err != nil {
		fmt.Println("FAILED", err)
		os.Exit(1)
	}
}
