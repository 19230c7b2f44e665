-- Is this token a session's, and whose? $1: the token's hash.
SELECT s.id, s.user_id, s.expires_at, u.username, u.role FROM candlefish_bench.sessions s JOIN candlefish_bench.users u ON u.id = s.user_id
WHERE s.token_hash = $1 AND s.is_active
