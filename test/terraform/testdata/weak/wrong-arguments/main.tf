provider "aws" {
  regoin = "eu-central-1" # want: provider aws has no argument regoin; did you mean region?
}

resource "aws_ecr_repositry" "app" { # want: hashicorp/aws 6.66.0 has no resource aws_ecr_repositry; did you mean aws_ecr_repository?
  name = "acme/app"
}

resource "aws_ecr_repository" "app" {
  name                 = "acme/app"
  image_tag_mutability = "FROZEN"  # want: "FROZEN" is not a value of aws_ecr_repository.image_tag_mutability: it takes MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION
  arn                  = "arn:aws" # want: aws_ecr_repository: arn is the provider's to set
  immutable            = true      # want: aws_ecr_repository has no argument immutable
  scanning {                       # want: aws_ecr_repository has no block scanning
    on_push = true
  }
  image_scanning_configuration {} # want: aws_ecr_repository.image_scanning_configuration lacks scan_on_push, which is required
  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = ["a"]
    content {
      filtre      = "sha256-*" # want: aws_ecr_repository.image_tag_mutability_exclusion_filter has no argument filtre; did you mean filter?
      filter      = "sha256-*"
      filter_type = "WILDCARD"
    }
  }
}

resource "helm_release" "kyverno" { # want: helm_release kyverno names no version
  name       = "kyverno"
  chart      = "kyverno"
  repository = "oci://ghcr.io/kyverno/charts"    # want: helm_release kyverno fetches its chart by version, which can be moved: take an archive whose digest is checked
  set        = [{ nam = "a", value = local.valu }] # want: helm_release.set has no member nam; did you mean name? | helm_release.set lacks name, which is required | local.valu is not defined; did you mean value?
}

locals {
  value = var.missing # want: var.missing is not declared
}

data "google_project" "this" {} # want: google_project: no provider here has types of that name
