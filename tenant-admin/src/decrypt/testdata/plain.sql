--
-- PostgreSQL database dump
--

\restrict a1b2

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: mood; Type: TYPE; Schema: public; Owner: owner
--

CREATE TYPE public.mood AS ENUM (
    'sad',
    'so, "happy"; '
);

CREATE DOMAIN public.name AS character varying(30);
CREATE DOMAIN public.mail AS public.name
	CONSTRAINT mail_check CHECK (((VALUE)::text ~ '@'::text));

CREATE FUNCTION public.f() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$ BEGIN
COPY public.people (ssn) FROM stdin;
RETURN NEW; END $_$;

CREATE FUNCTION public.g() RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT count(*) AS count
    FROM public.people
   WHERE ((people.ssn)::bytea = '007'::character varying);
END;

CREATE TABLE public.people (
    ssn character varying(12) DEFAULT 'it''s'::character varying CONSTRAINT people_ssn_not_null NOT NULL,
    "Name" text,
    born date,
    mood "public"."mood",
    mail "public"."mail",
    "odd, column" integer DEFAULT 7,
    photo bytea DEFAULT '\x1201'::bytea,
    CONSTRAINT people_check CHECK (("odd, column" > 0))
);


ALTER TABLE public.people OWNER TO owner;

--
-- Name: people ssn; Type: COMMENT; Schema: public; Owner: owner
--

COMMENT ON COLUMN public.people.ssn IS 'see;
\.
COPY public.people (ssn) FROM stdin;';

CREATE TABLE public.elders (
    CONSTRAINT elder CHECK (true)
)
INHERITS (public.people);

CREATE TABLE public.spread (
    key text
)
PARTITION BY HASH (key);

CREATE TABLE public.spread_0 (
    key text
);

CREATE VIEW public.some AS
 SELECT people.ssn
   FROM public.people
  WHERE ((people.ssn = ANY ('{"1,2",NULL}'::character varying[])) OR (people.photo = '\x00'::bytea));

ALTER TABLE ONLY public.spread ATTACH PARTITION public.spread_0 FOR VALUES WITH (modulus 1, remainder 0);

CREATE TABLE public.plain (
    a text
);

--
-- Data for Name: people; Type: TABLE DATA; Schema: public; Owner: owner
--

COPY public.people (ssn, "Name", born, mood, mail, "odd, column", photo) FROM stdin;
007	tab\tand \\ and	1999-12-31	so, "happy"; 	a@b	1	\\x1201
\N	\N	\N	\N	\N	\N	\N
\.

COPY public.elders (ssn, "Name", "odd, column") FROM stdin;
008		2
\.

COPY "public"."spread" (key) FROM stdin;
k
\.

COPY public.plain (a) FROM stdin;
\\x1201 is text; '
\.

INSERT INTO public.people VALUES ('009', 'it''s', NULL, DEFAULT, NULL, -1, '\x1201'), ('010', NULL, NULL, NULL, NULL, 3, NULL);
INSERT INTO public.plain VALUES ('(;'')');

SELECT pg_catalog.setval('public.s', 1, false);

CREATE POLICY own ON public.people USING ((ssn = '007'::character varying));

--
-- PostgreSQL database dump complete
--

\unrestrict a1b2

