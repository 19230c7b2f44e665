-- One user, without secrets. $1: uuid
SELECT id, username, email, role, is_active, last_login, created_at FROM users WHERE id = $1
