-- The live session behind a token's hash, and whose it is. $1: text
SELECT s.id, s.user_id, s.expires_at, u.role
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_hash = $1 AND s.is_active AND u.is_active
