package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// print writes what a command answered: JSON, a line a field, or a table.
func (a *admin) print(w io.Writer, answer any) error {
	if a.json {
		return printJSON(w, answer)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	v := reflect.ValueOf(answer)
	if v.Kind() == reflect.Slice {
		printTable(t, v)
	} else {
		for _, c := range cells(v) {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", c.name, c.value) // Flush tells of errors
		}
	}
	return t.Flush()
}

func printTable(w io.Writer, rows reflect.Value) {
	for i := range rows.Len() {
		row := cells(rows.Index(i))
		if i == 0 {
			for _, c := range row {
				_, _ = fmt.Fprintf(w, "%s\t", strings.ToUpper(c.name))
			}
			_, _ = fmt.Fprintln(w)
		}
		for _, c := range row {
			_, _ = fmt.Fprintf(w, "%s\t", c.value)
		}
		_, _ = fmt.Fprintln(w)
	}
}

type cell struct{ name, value string }

// cells are the fields of a struct by their names in JSON, embedded ones too.
func cells(v reflect.Value) []cell {
	var out []cell
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			out = append(out, cells(v.Field(i))...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, cell{name, text(v.Field(i))})
	}
	return out
}

// text is a value in one line.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "-"
		}
		return text(v.Elem())
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		if v.Kind() == reflect.String && v.Len() == 0 {
			return "-"
		}
		return printable(strings.ReplaceAll(fmt.Sprint(v.Interface()), "\n", `\n`))
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return "?"
	}
	return printable(strings.Trim(string(b), `"`))
}
