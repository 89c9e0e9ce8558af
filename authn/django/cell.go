package django

import "database/sql"

// cell is a wanted value of a row. NULL, and what is longer than maxValue, is "", and not copied.
type cell string

func (c *cell) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*c = ""
		if len(v) <= maxValue {
			*c = cell(v)
		}
		return nil
	case []byte:
		*c = ""
		if len(v) <= maxValue {
			*c = cell(v)
		}
		return nil
	}
	var text sql.NullString // numbers, times and NULL
	err := text.Scan(src)
	*c = cell(text.String)
	return err
}

// unwanted takes a value that nobody wants.
type unwanted struct{}

func (unwanted) Scan(any) error { return nil }
