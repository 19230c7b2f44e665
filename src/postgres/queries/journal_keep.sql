-- Keeps what builds an index, a constraint or a trigger again.
-- $1 text: the run; $2 text: schema; $3 text: table; $4 text: kind; $5 text: name; $6 text: definition; $7 boolean: it was valid; $8 text: its comment, or NULL; $9 text[]: its own triggers that
-- somebody has switched, or NULL
INSERT INTO candlefish.kept_definition (run_id, target_schema, target, kind, name, definition, valid, comment, switched) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
