-- One user. $1: the id.
SELECT id, username, email, role, is_active, last_login, created_at, updated_at FROM candlefish_bench.users WHERE id = $1
