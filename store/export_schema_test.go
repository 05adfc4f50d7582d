package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Schema is what both databases must have in common: by table its columns with
// type, nullability and default, its indexes and what it refers to.
func (s *Store) Schema(ctx context.Context) (map[string][]string, error) {
	columns, indexes := sqliteColumns, sqliteIndexes
	if s.onServer() {
		columns, indexes = serverColumns, serverIndexes
	}
	out := map[string][]string{}
	for _, query := range []string{columns, indexes} {
		var rows []struct{ Table, What string }
		if err := s.reader.NewRaw(query).Scan(ctx, &rows); err != nil {
			return nil, err
		}
		for _, r := range rows {
			if !strings.HasPrefix(r.Table, "goose") && !strings.HasPrefix(r.Table, "sqlite_") {
				out[r.Table] = append(out[r.Table], plain(r.What))
			}
		}
	}
	for _, columns := range out {
		slices.Sort(columns)
	}
	return out, nil
}

const (
	sqliteColumns = `SELECT m.name AS "table", 'column ' || c.name || ' ' || lower(c.type) || ' ' || c."notnull" || ' ' || COALESCE(c.dflt_value, '') AS what
		FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'`
	serverColumns = `SELECT table_name AS "table", 'column ' || column_name || ' ' || data_type || ' ' ||
		CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END || ' ' || COALESCE(column_default, '') ||
		CASE WHEN data_type = 'text' AND collation_name IS DISTINCT FROM 'C' THEN ' lacks COLLATE "C"' ELSE '' END AS what
		FROM information_schema.columns WHERE table_schema = 'public'`
	sqliteIndexes = `SELECT tbl_name AS "table", sql AS what FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
		UNION ALL SELECT m.name, 'key ' || (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
			FROM sqlite_master AS m, pragma_index_list(m.name) AS i WHERE m.type = 'table' AND i.origin <> 'c'
		UNION ALL SELECT m.name, 'refers ' || f."from" || ' ' || f."table" || ' ' || f.on_delete
			FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'`
	serverIndexes = `SELECT i.tablename AS "table", i.indexdef AS what FROM pg_indexes AS i WHERE i.schemaname = 'public'
			AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conname = i.indexname)
		UNION ALL SELECT CAST(CAST(c.conrelid AS regclass) AS TEXT), 'key ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n)
			FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum)
			FROM pg_constraint AS c WHERE c.contype IN ('p', 'u') AND c.connamespace = CAST('public' AS regnamespace)
		UNION ALL SELECT CAST(CAST(c.conrelid AS regclass) AS TEXT), 'refers ' || a.attname || ' ' || CAST(c.confrelid AS regclass) || ' ' ||
			CASE c.confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'NO ACTION' END
			FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
			WHERE c.contype = 'f' AND c.connamespace = CAST('public' AS regnamespace)`
)

// What the databases only say differently.
var (
	casts   = regexp.MustCompile(`::"?[a-z]+"?(\[\])?`)
	anyOf   = regexp.MustCompile(`= any \(array\[([^]]*)\]\)`)
	spaces  = regexp.MustCompile(`\s+`)
	signs   = strings.NewReplacer("(", " ", ")", " ", "public.", "", " using btree", "", `collate "c"`, "", "<>", "<>", ", ", ",", `"`, "", "bytea", "blob")
	orderBy = strings.NewReplacer(" asc", "")
)

func plain(what string) string {
	s := strings.ToLower(spaces.ReplaceAllString(what, " "))
	s = casts.ReplaceAllString(s, "")
	s = anyOf.ReplaceAllString(s, "in ($1)")
	s = orderBy.Replace(signs.Replace(s))
	s = strings.ReplaceAll(s, "x''", `''`)
	s = strings.ReplaceAll(s, `'\x'`, `''`)
	return strings.TrimSpace(spaces.ReplaceAllString(s, " "))
}

// Migrations are the numbers of the newest ones of SQLite and PostgreSQL.
func Migrations() (sqlite, postgres int, err error) {
	newest := func(files embed.FS, dir string) int {
		names, gerr := fs.Glob(files, dir+"/*.sql")
		if gerr != nil || len(names) == 0 {
			err = fmt.Errorf("no migrations in %s: %w", dir, gerr)
			return 0
		}
		number, _, _ := strings.Cut(path.Base(names[len(names)-1]), "_")
		n, aerr := strconv.Atoi(number)
		if aerr != nil {
			err = aerr
		}
		return n
	}
	return newest(sqliteMigrations, "migrations/sqlite"), newest(postgresMigrations, "migrations/postgres"), err
}
