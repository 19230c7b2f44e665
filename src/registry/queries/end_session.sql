-- Ends a session. $1: text, the hash of its token
UPDATE sessions SET is_active = false WHERE token_hash = $1
