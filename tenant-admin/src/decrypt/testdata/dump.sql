--
-- PostgreSQL database dump
--

\restrict a1b2

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: trefoil; Type: SCHEMA; Schema: -; Owner: owner
--

CREATE SCHEMA trefoil;


ALTER SCHEMA trefoil OWNER TO owner;
GRANT USAGE ON SCHEMA trefoil TO public;

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
   WHERE ((people.ssn)::bytea = '\«ssn:007»'::bytea);
END;

CREATE TABLE public.people (
    ssn bytea DEFAULT '\«ssn:it's»'::bytea CONSTRAINT people_ssn_not_null NOT NULL,
    "Name" bytea,
    born bytea,
    mood bytea,
    mail bytea,
    "odd, column" integer DEFAULT 7,
    photo bytea DEFAULT '\x1201'::bytea,
    CONSTRAINT people_check CHECK (("odd, column" > 0)),
    CONSTRAINT "trefoil_cell_Name" CHECK (((octet_length("Name") >= 34) AND (get_byte("Name", 0) = 17))),
    CONSTRAINT trefoil_cell_ssn CHECK (((octet_length(ssn) >= 18) AND (get_byte(ssn, 0) = 18)))
);


ALTER TABLE public.people OWNER TO owner;

--
-- Name: people ssn; Type: COMMENT; Schema: public; Owner: owner
--

COMMENT ON COLUMN public.people.ssn IS 'see;
\.
COPY public.people (ssn) FROM stdin;';

CREATE TABLE public.elders (
    CONSTRAINT "trefoil_cell_Name" CHECK (((octet_length("Name") >= 34) AND (get_byte("Name", 0) = 17))),
    CONSTRAINT elder CHECK (true)
)
INHERITS (public.people);

CREATE TABLE public.spread (
    key bytea,
    CONSTRAINT trefoil_cell_key CHECK (((octet_length(key) >= 18) AND (get_byte(key, 0) = 18)))
)
PARTITION BY HASH (key);

CREATE TABLE public.spread_0 (
    key bytea,
    CONSTRAINT trefoil_cell_key CHECK (((octet_length(key) >= 18) AND (get_byte(key, 0) = 18)))
);

CREATE VIEW public.some AS
 SELECT people.ssn
   FROM public.people
  WHERE ((people.ssn = ANY ('{"\\«ssn:1,2»",NULL}'::bytea[])) OR (people.photo = '\x00'::bytea));

CREATE TABLE trefoil.key_check (
    keyspace text NOT NULL,
    epoch integer NOT NULL,
    value bytea NOT NULL
);

ALTER TABLE ONLY public.spread ATTACH PARTITION public.spread_0 FOR VALUES WITH (modulus 1, remainder 0);

CREATE TABLE public.plain (
    a text
);

--
-- Data for Name: people; Type: TABLE DATA; Schema: public; Owner: owner
--

COPY public.people (ssn, "Name", born, mood, mail, "odd, column", photo) FROM stdin;
\\«ssn:007»	\\«Name:tab	and \ and»	\\«born:1999-12-31»	\\«mood:so, "happy"; »	\\«mail:a@b»	1	\\x1201
\N	\N	\N	\N	\N	\N	\N
\.

COPY public.elders (ssn, "Name", "odd, column") FROM stdin;
\\«ssn:008»	\\«Name:»	2
\.

COPY public.spread_0 (key) FROM stdin;
\\«key:k»
\.

COPY public.plain (a) FROM stdin;
\\x1201 is text; '
\.

COPY trefoil.key_check (keyspace, epoch, value) FROM stdin;
main	1	\\«check»
\.

INSERT INTO public.people VALUES ('\«ssn:009»', '\«Name:it's»', NULL, DEFAULT, NULL, -1, '\x1201'), ('\«ssn:010»', NULL, NULL, NULL, NULL, 3, NULL);
INSERT INTO public.plain VALUES ('(;'')');

SELECT pg_catalog.setval('public.s', 1, false);

ALTER TABLE ONLY trefoil.key_check
    ADD CONSTRAINT key_check_pkey PRIMARY KEY (keyspace, epoch);

ALTER TABLE public.people
    ADD CONSTRAINT trefoil_cell_born CHECK (((octet_length(born) >= 34) AND (get_byte(born, 0) = 17))) NOT VALID;

COMMENT ON CONSTRAINT trefoil_cell_born ON public.people IS 'only cells';

CREATE POLICY own ON public.people USING ((ssn = '\«ssn:007»'::bytea));

--
-- PostgreSQL database dump complete
--

\unrestrict a1b2

