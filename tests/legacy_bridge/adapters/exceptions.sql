-- A legacy on PostgreSQL: RAISE EXCEPTION, composite results, moments with a zone, functions (no COMMIT).
CREATE SCHEMA loyalty
//
CREATE TABLE loyalty.member (
    member_no text PRIMARY KEY,
    closed boolean NOT NULL DEFAULT false
)
//
CREATE TABLE loyalty.lot (
    lot_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    member_no text NOT NULL REFERENCES loyalty.member,
    points bigint NOT NULL,
    remaining bigint NOT NULL CONSTRAINT remaining_is_not_negative CHECK (remaining >= 0),
    withdrawn bigint NOT NULL DEFAULT 0,
    earned_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL DEFAULT 'infinity',
    reason text NOT NULL
)
//
CREATE INDEX ON loyalty.lot (member_no, expires_at)
//
CREATE SEQUENCE loyalty.receipt_no
//
CREATE TYPE loyalty.receipt AS (
    receipt_no bigint, lot_no bigint, member_no text, points bigint, balance bigint, made_at timestamptz
)
//
CREATE FUNCTION loyalty.available(p_member text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(remaining), 0)::bigint FROM loyalty.lot
     WHERE member_no = p_member AND expires_at > clock_timestamp()
$$
//
CREATE FUNCTION loyalty.lock_member(p_member text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_closed boolean;
BEGIN
    SELECT closed INTO v_closed FROM loyalty.member WHERE member_no = p_member FOR UPDATE;
    IF v_closed THEN
        RAISE EXCEPTION 'member % may not do this', p_member USING DETAIL = 'CLOSED';
    END IF;
END $$
//
CREATE FUNCTION loyalty.earn(p_member text, p_points bigint, p_reason text, p_expires_at timestamptz)
    RETURNS loyalty.receipt LANGUAGE plpgsql AS $$
DECLARE
    v_lot bigint;
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO loyalty.member (member_no) VALUES (p_member) ON CONFLICT DO NOTHING;
    PERFORM loyalty.lock_member(p_member);
    INSERT INTO loyalty.lot (member_no, points, remaining, earned_at, expires_at, reason)
    VALUES (p_member, p_points, p_points, v_now, coalesce(p_expires_at, 'infinity'), p_reason)
    RETURNING lot_no INTO v_lot;
    RETURN (nextval('loyalty.receipt_no'), v_lot, p_member, p_points, loyalty.available(p_member), v_now);
END $$
//
CREATE FUNCTION loyalty.earn(p_member text, p_points bigint, p_reason text)
    RETURNS loyalty.receipt LANGUAGE sql AS $$
    SELECT loyalty.earn(p_member, p_points, p_reason, date_trunc('day', now()) + interval '1 year')
$$
//
CREATE FUNCTION loyalty.spend(p_member text, p_points bigint, p_reason text)
    RETURNS loyalty.receipt LANGUAGE plpgsql AS $$
DECLARE
    v_open bigint := p_points;
    v_lot record;
BEGIN
    PERFORM loyalty.lock_member(p_member);
    IF loyalty.available(p_member) < p_points THEN
        RAISE EXCEPTION 'member % has too few points', p_member USING ERRCODE = 'LY001';
    END IF;
    FOR v_lot IN SELECT lot_no, remaining FROM loyalty.lot
                  WHERE member_no = p_member AND remaining > 0 AND expires_at > clock_timestamp()
                  ORDER BY expires_at, lot_no LOOP
        EXIT WHEN v_open = 0;
        UPDATE loyalty.lot SET remaining = remaining - least(v_open, v_lot.remaining)
         WHERE lot_no = v_lot.lot_no;
        v_open := v_open - least(v_open, v_lot.remaining);
    END LOOP;
    RETURN (nextval('loyalty.receipt_no'), NULL::bigint, p_member, p_points, loyalty.available(p_member),
            clock_timestamp());
END $$
//
CREATE FUNCTION loyalty.withdraw(p_lot bigint, p_points bigint)
    RETURNS loyalty.receipt LANGUAGE plpgsql AS $$
DECLARE
    v_lot loyalty.lot;
BEGIN
    SELECT * INTO v_lot FROM loyalty.lot WHERE lot_no = p_lot FOR UPDATE;
    IF v_lot.lot_no IS NULL OR v_lot.withdrawn + p_points > v_lot.points THEN
        RAISE EXCEPTION 'lot % has no % points to withdraw', p_lot, p_points USING ERRCODE = 'LY002';
    END IF;
    -- What was spent already breaks the constraint, as it always did here.
    UPDATE loyalty.lot SET remaining = remaining - p_points, withdrawn = withdrawn + p_points
     WHERE lot_no = p_lot;
    RETURN (nextval('loyalty.receipt_no'), p_lot, v_lot.member_no, p_points,
            loyalty.available(v_lot.member_no), clock_timestamp());
END $$
//
